package sandbox

import "slices"

// thread is the letters of one, oldest first; the lock must be held.
func (m *mailbox) thread(id string) []*letter {
	var out []*letter
	for _, l := range m.letters {
		if l.thread == id {
			out = append(out, l)
		}
	}
	slices.SortFunc(out, func(a, b *letter) int {
		return newer(b.date.UnixMilli(), b.id, a.date.UnixMilli(), a.id)
	})
	return out
}

// listThreads answers those with a letter that fits, the newest first.
func (c *call) listThreads(box *mailbox) reply {
	const normal, most = 100, 500
	found, refused := c.search(box, c.query["labelIds"])
	if refused != nil {
		return *refused
	}
	var all []any
	seen := map[string]bool{}
	for _, l := range found {
		if !seen[l.thread] {
			seen[l.thread] = true
			all = append(all, doc{"id": l.thread, "snippet": l.content().snippet, "historyId": decimal(l.seen)})
		}
	}
	return c.listed(doc{"resultSizeEstimate": len(all)}, "threads", all, normal, most)
}

func (c *call) getThread(box *mailbox) reply {
	show, refused := c.messageFormat(false)
	if refused != nil {
		return *refused
	}
	letters, refused := c.lookAll(box)
	if refused != nil {
		return *refused
	}
	messages := make([]*messageOut, len(letters))
	for i, l := range letters {
		messages[i] = show(l)
	}
	return c.ok(doc{"id": c.arg("id"), "historyId": messages[len(messages)-1].HistoryID, "messages": messages})
}

// lookAll takes the letters of a thread with what may change of them, so that
// they are parsed without the lock.
func (c *call) lookAll(box *mailbox) ([]seen, *reply) {
	if !isMessageID(c.arg("id")) {
		a := c.row("A4")
		return nil, &a
	}
	box.mu.RLock()
	defer box.mu.RUnlock()
	var out []seen
	for _, l := range box.thread(c.arg("id")) {
		out = append(out, seen{l, l.minimal()})
	}
	if out == nil {
		a := c.row("A14")
		return nil, &a
	}
	return out, nil
}

// withThread holds the mailbox while h works on each letter of the thread.
func (c *call) withThread(box *mailbox, h func(*letter)) reply {
	if !isMessageID(c.arg("id")) {
		return c.row("A4")
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	letters := box.thread(c.arg("id"))
	if letters == nil {
		return c.row("A14")
	}
	messages := make([]*messageOut, len(letters))
	for i, l := range letters {
		h(l)
		messages[i] = l.brief()
	}
	return c.ok(doc{"id": c.arg("id"), "messages": messages})
}

func (c *call) modifyThread(box *mailbox) reply {
	var in modifyIn
	if err := strictJSON(orEmpty(c.body), &in); err != nil {
		return badJSON(err, "")
	}
	box.mu.RLock()
	refused := c.checkLabels(box, in)
	box.mu.RUnlock()
	if refused != nil {
		return *refused
	}
	return c.withThread(box, func(l *letter) { box.relabel(l, in.Add, in.Remove) })
}

func (c *call) trashThread(box *mailbox) reply {
	return c.withThread(box, func(l *letter) { box.relabel(l, []string{labelTrash}, []string{labelInbox}) })
}

func (c *call) untrashThread(box *mailbox) reply {
	return c.withThread(box, func(l *letter) { box.relabel(l, nil, []string{labelTrash}) })
}

func (c *call) deleteThread(box *mailbox) reply {
	gone := map[string]bool{}
	a := c.withThread(box, func(l *letter) { gone[l.id] = true })
	if len(gone) == 0 {
		return a
	}
	box.mu.Lock()
	defer box.mu.Unlock()
	box.remove(gone)
	return noContent()
}

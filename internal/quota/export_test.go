package quota

// Users are how many are remembered.
func (b *Budget) Users() int { return len(b.users) }

// Idle tells whether nothing is under way, kept or waited for.
func (b *Budget) Idle() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now()
	for _, u := range b.users {
		if u.flying != 0 || u.busy != [lanes]int{} || u.queued != [lanes]int{} {
			return false
		}
	}
	return b.project.flying == 0 && len(b.waiting) == 0 && b.rings == never
}

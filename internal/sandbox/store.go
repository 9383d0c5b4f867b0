package sandbox

import (
	"encoding/base64"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// A doc is a resource as JSON has it.
type doc map[string]any

func (d doc) text(name string) string {
	s, _ := d[name].(string)
	return s
}

// under is the object in a field, made if it is not there.
func (d doc) under(name string) doc {
	if below, ok := d[name].(map[string]any); ok {
		return below
	}
	below := doc{}
	d[name] = map[string]any(below)
	return below
}

// fillIn sets what is not said.
func (d doc) fillIn(name string, v any) {
	if _, ok := d[name]; !ok {
		d[name] = v
	}
}

// address is where resources of one kind are: whose they are, and below what.
type address struct{ owner, kind, parent string }

// shelf holds resources in the order of their making.
type shelf struct {
	order []string
	byID  map[string]doc
}

// store is what the APIs keep that need no more than a place for their
// resources. One lock holds all of it: who has it may change what is there.
type store struct {
	mu      sync.Mutex
	shelves map[address]*shelf
	serial  uint64
	// requests are the resources that were made by requests which may come again.
	requests map[request]doc
}

// request is one that has an id, and whose it is.
type request struct{ kind, owner, id string }

func newStore() *store { return &store{shelves: map[address]*shelf{}, requests: map[request]doc{}} }

func (s *shelf) put(id string, d doc) {
	if s.byID[id] == nil {
		s.order = append(s.order, id)
	}
	s.byID[id] = d
}

func (s *shelf) remove(id string) {
	delete(s.byID, id)
	s.order = slices.DeleteFunc(s.order, func(one string) bool { return one == id })
}

// all are the resources in the order of their making.
func (s *shelf) all() []doc {
	out := make([]doc, 0, len(s.order))
	for _, id := range s.order {
		out = append(out, s.byID[id])
	}
	return out
}

// A kind is resources that are made, shown, listed, changed and removed in the
// same way, with what is particular to them.
type kind struct {
	name   string // among all kinds
	id     string // the field that names one
	items  string // of the list's answer
	shared bool   // one for the organisation; the others are each user's own
	// skip is how many parameters of the path come before those that name parents.
	skip int
	// path is the word before the id in names such as spaces/X/messages/Y. With
	// it the id is all of the name.
	path  string
	below *kind // whose resource the parent must be

	alias  func(c *call, id string) string            // another name for an id: primary, @default, me
	check  func(c *call, d doc) *reply                // of what a request says
	makeID func(c *call, d doc) (string, *reply)      // nil takes a number
	fill   func(c *call, d doc)                       // what Google adds, at every change
	seed   func(c *call, at address) []doc            // what is there before anybody comes
	shows  func(c *call, d doc) bool                  // whether a list has it
	gather func(c *call, sh *shelf) []doc             // what a list is of; nil is what is there
	order  func(c *call, all []doc)                   // of a list; nil is as they were made
	unable []string                                   // parameters of a list that are answered with 501
	frame  func(c *call) doc                          // what stands around a list
	free   func(c *call, d doc) *reply                // whether it may be removed
	gone   func(c *call, id string) reply             // nil is row A14
	taken  func(c *call) reply                        // nil is row A16b
	edit   func(c *call, sh *shelf, old, changed doc) // what a change does beside
	// asked is the id of a request that may come again, and then gets the same
	// resource; empty is none.
	asked  func(c *call) string
	answer func(c *call, d doc) any   // nil answers with the resource
	page   struct{ normal, most int } // of a list; 0 is 100 and 1000
}

// methods are those of a kind, by the last word of their ids.
func (k *kind) methods(prefix string, names ...string) []method {
	do := map[string]func(*call) reply{
		"create": k.create, "insert": k.create, "get": k.get, "list": k.list, "patch": k.patch,
		"update": k.update, "delete": k.remove,
	}
	var out []method
	for _, name := range names {
		out = append(out, method{id: prefix + "." + name, do: do[name]})
	}
	return out
}

// place is where the call's resource is, or where it is to be; the id is empty
// for calls that name none. The store's lock must be held.
func (k *kind) place(c *call, named bool) (address, string) {
	vars := slices.Clone(c.vars[k.skip:])
	at := address{kind: k.name}
	if !k.shared {
		at.owner = c.tok.principal()
	}
	id := ""
	if named {
		id, vars = vars[len(vars)-1], vars[:len(vars)-1]
		if k.alias != nil {
			id = k.alias(c, id)
		}
		if k.path != "" {
			before, _ := cutLast(id, "/"+k.path+"/")
			return address{at.owner, at.kind, before}, id
		}
	}
	if n := len(vars); n > 0 && k.below != nil && k.below.alias != nil {
		vars[n-1] = k.below.alias(c, vars[n-1])
	}
	at.parent = strings.Join(vars, "/")
	return at, id
}

// cutLast cuts at the last place where sep stands; without it the first part is
// empty.
func cutLast(s, sep string) (before, after string) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):]
	}
	return "", s
}

// shelf finds the place's resources, made and seeded when first looked at.
func (k *kind) shelf(c *call, at address) *shelf {
	sh := c.store.shelves[at]
	if sh == nil {
		sh = &shelf{byID: map[string]doc{}}
		c.store.shelves[at] = sh
		if k.seed != nil {
			for _, d := range k.seed(c, at) {
				k.filled(c, d)
				sh.put(d.text(k.id), d)
			}
		}
	}
	return sh
}

// shelfOf is the shelf if it was ever looked at, and an empty one if not.
func (s *store) shelfOf(at address) *shelf {
	if sh := s.shelves[at]; sh != nil {
		return sh
	}
	return &shelf{}
}

func (k *kind) filled(c *call, d doc) {
	if k.fill != nil {
		k.fill(c, d)
	}
}

// open returns the shelf that the call is about, or the refusal where its parent
// is not there.
func (k *kind) open(c *call, named bool) (sh *shelf, id string, refused *reply) {
	at, id := k.place(c, named)
	if k.below != nil && at.parent != "" {
		over := address{kind: k.below.name, owner: at.owner}
		if k.below.shared {
			over.owner = ""
		}
		parent := at.parent
		if k.below.path == "" {
			over.parent, parent = cutLast(at.parent, "/")
		}
		if k.below.shelf(c, over).byID[parent] == nil {
			a := k.below.missing(c, parent)
			return nil, "", &a
		}
	}
	return k.shelf(c, at), id, nil
}

func (k *kind) missing(c *call, id string) reply {
	if k.gone != nil {
		return k.gone(c, id)
	}
	return c.row("A14")
}

// found is the resource that the call names, in the state that its If-Match wants.
func (k *kind) found(c *call) (sh *shelf, id string, d doc, refused *reply) {
	sh, id, refused = k.open(c, true)
	if refused != nil {
		return nil, "", nil, refused
	}
	if d = sh.byID[id]; d == nil {
		a := k.missing(c, id)
		return nil, "", nil, &a
	}
	if want := c.req.Header.Get("If-Match"); want != "" && want != "*" && d["etag"] != nil && d["etag"] != want && c.req.Method != http.MethodGet {
		a := c.refuse(http.StatusPreconditionFailed, "conditionNotMet", "Precondition Failed")
		return nil, "", nil, &a
	}
	return sh, id, d, nil
}

func (k *kind) reply(c *call, d doc) reply {
	if k.answer != nil {
		return c.ok(k.answer(c, d))
	}
	return c.ok(d)
}

func (k *kind) get(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, _, d, refused := k.found(c)
	if refused != nil {
		return *refused
	}
	return k.reply(c, d)
}

func (k *kind) create(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	asked := request{kind: k.name}
	if k.asked != nil {
		asked.id, asked.owner = k.asked(c), c.tok.principal()
	}
	if d := c.store.requests[asked]; d != nil {
		return k.reply(c, d)
	}
	d, refused := k.made(c, merge(nil, c.said()))
	if refused != nil {
		return *refused
	}
	if asked.id != "" {
		c.store.requests[asked] = d
	}
	return k.reply(c, d)
}

// made puts a new resource in its place.
func (k *kind) made(c *call, d doc) (doc, *reply) {
	sh, _, refused := k.open(c, false)
	if refused != nil {
		return nil, refused
	}
	if k.check != nil {
		if a := k.check(c, d); a != nil {
			return nil, a
		}
	}
	id, refused := k.newID(c, d)
	if refused != nil {
		return nil, refused
	}
	if k.path != "" {
		at, _ := k.place(c, false)
		id = strings.TrimPrefix(at.parent+"/"+k.path+"/"+id, "/")
	}
	if sh.byID[id] != nil {
		if k.taken != nil {
			a := k.taken(c)
			return nil, &a
		}
		a := c.row("A16b")
		return nil, &a
	}
	d[k.id] = id
	k.filled(c, d)
	sh.put(id, d)
	return d, nil
}

func (k *kind) newID(c *call, d doc) (string, *reply) {
	if k.makeID == nil {
		return c.store.number(), nil
	}
	return k.makeID(c, d)
}

// number is the next of the numbers that serve as ids.
func (s *store) number() string {
	s.serial++
	return strconv.FormatUint(100_000_000_000+s.serial, 10)
}

func (k *kind) patch(c *call) reply { return k.change(c, merged) }

// update keeps what Google says itself.
func (k *kind) update(c *call) reply {
	return k.change(c, func(c *call, old, said doc) doc {
		said = merge(nil, said)
		schema := c.route.facts.Request
		for name, v := range old {
			if f, ok := schema.Field(name); !ok || f.ReadOnly || name == k.id {
				said[name] = v
			}
		}
		return said
	})
}

func (k *kind) change(c *call, how func(c *call, old, said doc) doc) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sh, id, old, refused := k.found(c)
	if refused != nil {
		return *refused
	}
	said := c.said()
	if k.check != nil {
		if a := k.check(c, said); a != nil {
			return *a
		}
	}
	d := how(c, old, said)
	d[k.id] = old[k.id]
	if k.edit != nil {
		k.edit(c, sh, old, d)
	}
	k.filled(c, d)
	sh.put(id, d)
	return k.reply(c, d)
}

// merged is what a PATCH leaves: null clears, objects are merged, all else is
// replaced. An updateMask says what is taken over, whether it is there or not.
func merged(c *call, old, said doc) doc {
	out := doc{}
	for name, v := range old {
		out[name] = v
	}
	mask := c.query.Get("updateMask")
	if mask == "" || mask == "*" {
		return merge(out, said)
	}
	for _, path := range strings.Split(mask, ",") {
		name, _, _ := strings.Cut(camel(strings.TrimSpace(path)), ".")
		delete(out, name)
		if v, ok := said[name]; ok {
			out[name] = v
		}
	}
	return out
}

func merge(old, said map[string]any) map[string]any {
	out := make(map[string]any, len(old))
	for name, v := range old {
		out[name] = v
	}
	for name, v := range said {
		below, object := v.(map[string]any)
		was, wasObject := out[name].(map[string]any)
		switch {
		case v == nil:
			delete(out, name)
		case object && wasObject:
			out[name] = merge(was, below)
		case object:
			out[name] = merge(nil, below)
		default:
			out[name] = v
		}
	}
	return out
}

// camel turns update_mask's snake_case into the names of JSON.
func camel(s string) string {
	parts := strings.Split(s, "_")
	for i := 1; i < len(parts); i++ {
		if parts[i] != "" {
			parts[i] = strings.ToUpper(parts[i][:1]) + parts[i][1:]
		}
	}
	return strings.Join(parts, "")
}

func (k *kind) remove(c *call) reply {
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sh, id, d, refused := k.found(c)
	if refused != nil {
		return *refused
	}
	if k.free != nil {
		if a := k.free(c, d); a != nil {
			return *a
		}
	}
	sh.remove(id)
	c.store.prune(k, id)
	return c.done()
}

// prune drops what lay below a resource.
func (s *store) prune(k *kind, id string) {
	for at := range s.shelves {
		if strings.HasPrefix(at.kind, k.name+".") && (at.parent == id || strings.HasPrefix(at.parent, id+"/")) {
			delete(s.shelves, at)
		}
	}
}

// forget drops what is a person's: one who comes later with the same address does
// not find it.
func (s *store) forget(p *person) {
	for at, sh := range s.shelves {
		if at.owner == p.email {
			delete(s.shelves, at)
		}
		if at.kind == userFields || at.kind == userPhotos {
			sh.remove(p.id)
		}
	}
}

// done answers a call that has nothing to say: with an empty object, or as the
// older APIs with nothing.
func (c *call) done() reply {
	if c.route.facts.Response == nil {
		return noContent()
	}
	return c.ok(doc{})
}

func (k *kind) list(c *call) reply {
	if a := c.cannot(k.unable...); a != nil {
		return *a
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	sh, _, refused := k.open(c, false)
	if refused != nil {
		return *refused
	}
	all := sh.all()
	if k.gather != nil {
		all = k.gather(c, sh)
	}
	if k.shows != nil {
		all = slices.DeleteFunc(all, func(d doc) bool { return !k.shows(c, d) })
	}
	if k.order != nil {
		k.order(c, all)
	}
	out := make([]any, len(all))
	for i, d := range all {
		if out[i] = d; k.answer != nil {
			out[i] = k.answer(c, d)
		}
	}
	frame := doc{}
	if k.frame != nil {
		frame = k.frame(c)
	}
	return c.listed(frame, k.items, out, k.page.normal, k.page.most)
}

// cannot refuses parameters that would be ignored: an answer that took no notice
// of them would hide a mistake.
func (c *call) cannot(names ...string) *reply {
	for _, name := range names {
		if v := c.query.Get(name); v != "" && v != "false" {
			a := c.notImplemented(name + "=" + v)
			return &a
		}
	}
	return nil
}

// listed answers a page of a list.
func (c *call) listed(frame doc, items string, all []any, normal, most int) reply {
	if most == 0 {
		normal, most = 100, 1000
	}
	limit := c.count("maxResults", normal, most)
	if c.query.Has("pageSize") {
		limit = c.count("pageSize", normal, most)
	}
	from := 0
	if token := c.query.Get("pageToken"); token != "" {
		b, err := base64.RawURLEncoding.DecodeString(token)
		if err == nil {
			from, err = strconv.Atoi(string(b))
		}
		if err != nil || from < 0 || from > len(all) {
			return c.refuse(http.StatusBadRequest, "invalid", "Invalid page token")
		}
	}
	end := min(from+limit, len(all))
	if end > from {
		frame[items] = all[from:end]
	}
	if end < len(all) {
		frame["nextPageToken"] = base64.RawURLEncoding.EncodeToString([]byte(strconv.Itoa(end)))
	}
	return c.ok(frame)
}

package sandbox

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A Quota is what Gmail lets be done; 0 is no limit.
type Quota struct {
	GmailUnitsPerUser      int `json:"gmailUnitsPerUser" yaml:"gmailUnitsPerUser"`           // in any 60 s
	GmailUnitsPerProject   int `json:"gmailUnitsPerProject" yaml:"gmailUnitsPerProject"`     // likewise, of all users together
	GmailConcurrentPerUser int `json:"gmailConcurrentPerUser" yaml:"gmailConcurrentPerUser"` // calls under way at once
}

func (q Quota) validate() error {
	for field, value := range map[string]int{
		"gmailUnitsPerUser": q.GmailUnitsPerUser, "gmailUnitsPerProject": q.GmailUnitsPerProject, "gmailConcurrentPerUser": q.GmailConcurrentPerUser,
	} {
		if value < 0 {
			return fmt.Errorf("quota.%s: %d is negative; 0 is no limit", field, value)
		}
	}
	return nil
}

// SetQuota sets what Gmail lets be done from now on. What was spent before counts where
// there was a limit then.
func (s *Server) SetQuota(q Quota) error {
	if err := q.validate(); err != nil {
		return fmt.Errorf("sandbox: %w", err)
	}
	s.quota.set(q)
	return nil
}

// refusedSuffix stands behind a call in the name under which the refusals of the quota
// are counted.
const refusedSuffix = ".refused"

// minute is what the limits are for.
const minute = time.Minute

// quotas count what is spent. With no limit a call costs one atomic load.
type quotas struct {
	any     atomic.Bool
	mu      sync.Mutex
	limit   Quota
	project spending
	users   map[string]*mailUse
}

// mailUse is what one user spends, and has under way.
type mailUse struct {
	spending
	calls int
}

// spending is what was spent in the last minute, the oldest first.
type spending struct {
	list []spent
	sum  int
}

type spent struct {
	at    time.Time
	units int
}

func newQuotas(q Quota) *quotas {
	s := &quotas{users: map[string]*mailUse{}}
	s.set(q)
	return s
}

func (q *quotas) set(limit Quota) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.limit = limit
	q.any.Store(limit != Quota{})
}

// of are those of one user. The lock must be held.
func (q *quotas) of(user string) *mailUse {
	u := q.users[user]
	if u == nil {
		u = &mailUse{}
		q.users[user] = u
	}
	return u
}

// enter begins a call of a user, if not too many are under way. Otherwise leave is nil.
func (q *quotas) enter(user string) (leave func()) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of(user)
	if most := q.limit.GmailConcurrentPerUser; most > 0 && u.calls >= most {
		return nil
	}
	u.calls++
	return func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		u.calls--
	}
}

// take spends units, or names the row of the limit that has too few left; then
// nothing is spent.
func (q *quotas) take(user string, units int, now time.Time) (row string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	u := q.of(user)
	switch {
	case !u.has(units, q.limit.GmailUnitsPerUser, now):
		return "A11e"
	case !q.project.has(units, q.limit.GmailUnitsPerProject, now):
		return "A11f"
	}
	for _, s := range []*spending{&u.spending, &q.project} {
		s.list = append(s.list, spent{now, units})
		s.sum += units
	}
	return ""
}

// has tells whether the limit has units left.
func (s *spending) has(units, limit int, now time.Time) bool {
	for len(s.list) > 0 && now.Sub(s.list[0].at) >= minute {
		s.sum -= s.list[0].units
		s.list = s.list[1:]
	}
	return limit == 0 || s.sum+units <= limit
}

// mailUser is whose mailbox a call of Gmail's spends on; empty for all other calls.
func (c *call) mailUser() string {
	if c.route.facts == nil || !strings.HasPrefix(c.route.name, "gmail.") || !c.quota.any.Load() {
		return ""
	}
	if t := c.presented(); t != nil && t.person != nil {
		return t.person.email
	}
	return ""
}

// unitsDoor lets in a call for which there are units left. That it comes before a look
// at what the call says is assumed: Google's other APIs count at their front.
func (c *call) unitsDoor() *reply {
	user := c.mailUser()
	if user == "" {
		return nil
	}
	row := c.quota.take(user, Units(c.route.name), c.now())
	if row == "" {
		return nil
	}
	a := c.overQuota(row)
	return &a
}

// overQuota refuses a call, and counts that.
func (c *call) overQuota(row string) reply {
	c.calls.add(c.route.name + refusedSuffix)
	c.drain()
	return c.row(row)
}

// Units are what a method of Gmail costs; 0 is any other method.
// https://developers.google.com/workspace/gmail/api/reference/quota, since May 2026; of
// client-side encryption, S/MIME and languages assumed.
func Units(method string) int { return gmailUnits[strings.TrimPrefix(method, "gmail.users.")] }

var gmailUnits = map[string]int{
	"getProfile":   1,
	"history.list": 2,
	"stop":         50,
	"watch":        100,

	"messages.attachments.get": 20,
	"messages.batchDelete":     50,
	"messages.batchModify":     50,
	"messages.delete":          10,
	"messages.get":             20,
	"messages.import":          25,
	"messages.insert":          25,
	"messages.list":            5,
	"messages.modify":          5,
	"messages.send":            100,
	"messages.trash":           20,
	"messages.untrash":         5,

	"drafts.create": 10,
	"drafts.delete": 10,
	"drafts.get":    20,
	"drafts.list":   5,
	"drafts.send":   100,
	"drafts.update": 15,

	"threads.delete":  20,
	"threads.get":     40,
	"threads.list":    10,
	"threads.modify":  10,
	"threads.trash":   20,
	"threads.untrash": 10,

	"labels.create": 5,
	"labels.delete": 5,
	"labels.get":    1,
	"labels.list":   1,
	"labels.patch":  5,
	"labels.update": 5,

	"settings.getAutoForwarding":    1,
	"settings.getImap":              1,
	"settings.getLanguage":          1,
	"settings.getPop":               1,
	"settings.getVacation":          1,
	"settings.updateAutoForwarding": 5,
	"settings.updateImap":           5,
	"settings.updateLanguage":       5,
	"settings.updatePop":            100,
	"settings.updateVacation":       5,

	"settings.delegates.create":           100,
	"settings.delegates.delete":           5,
	"settings.delegates.get":              1,
	"settings.delegates.list":             1,
	"settings.filters.create":             5,
	"settings.filters.delete":             5,
	"settings.filters.get":                1,
	"settings.filters.list":               1,
	"settings.forwardingAddresses.create": 100,
	"settings.forwardingAddresses.delete": 5,
	"settings.forwardingAddresses.get":    1,
	"settings.forwardingAddresses.list":   1,
	"settings.sendAs.create":              100,
	"settings.sendAs.delete":              5,
	"settings.sendAs.get":                 1,
	"settings.sendAs.list":                1,
	"settings.sendAs.patch":               100,
	"settings.sendAs.update":              100,
	"settings.sendAs.verify":              100,

	"settings.sendAs.smimeInfo.delete":     5,
	"settings.sendAs.smimeInfo.get":        1,
	"settings.sendAs.smimeInfo.insert":     100,
	"settings.sendAs.smimeInfo.list":       1,
	"settings.sendAs.smimeInfo.setDefault": 100,

	"settings.cse.identities.create":   100,
	"settings.cse.identities.delete":   5,
	"settings.cse.identities.get":      1,
	"settings.cse.identities.list":     1,
	"settings.cse.identities.patch":    100,
	"settings.cse.keypairs.create":     100,
	"settings.cse.keypairs.disable":    100,
	"settings.cse.keypairs.enable":     100,
	"settings.cse.keypairs.get":        1,
	"settings.cse.keypairs.list":       1,
	"settings.cse.keypairs.obliterate": 100,
}

// Package explain knows Google's errors on the delegated path: what each
// answer means, who must act, whether trying again helps, and what mends it.
// The knowledge is one table of data, see [Rows].
//
// What Google answers is hostile: nothing of its text gets into a [Meaning] but
// values of a known form, such as a project's number.
package explain

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// Answer is an answer of Google's that is no success.
type Answer struct {
	// Stage is [jobs.StageSign], [jobs.StageExchange] or [jobs.StageCall].
	Stage jobs.Stage
	// Status is the HTTP status; 0 where no answer came.
	Status int
	// Code is Google's word for it, such as "invalid_grant", or one of ours where
	// Google gave none, such as "noAnswer".
	Code string
	// Text is Google's message. It is recognised, and well-formed values are read
	// from it; it is never shown.
	Text string
	// Object is the field of the job that names an object in Cloud Storage, where
	// that could not be read or written; empty where the call itself failed.
	Object string
	// Self says that the service account acted as itself.
	Self bool
}

// Mint is the answer to a step of minting, of which stage is sign or exchange.
func Mint(stage string, status int, code, text string) Answer {
	return Answer{Stage: jobs.Stage(stage), Status: status, Code: code, Text: text}
}

// Retry is what a caller does about an answer.
type Retry string

// What a caller can do.
const (
	Never   Retry = ""        // nothing: it is final
	Soon    Retry = "soon"    // a passing fault: try again, with back-off
	Later   Retry = "later"   // a quota: try again, not before [Meaning.NotBefore]
	Briefly Retry = "briefly" // what was asked may be about to become possible: try again for [Meaning.Window], then it is final
	Renew   Retry = "renew"   // the token has ended: drop it and mint once more, then as Soon
)

// Limit is what is spent for now.
type Limit string

// What Google limits.
const (
	LimitUser    Limit = "user"                // what it does for the user
	LimitSending Limit = "user's mail sending" // of that, sending mail alone
	LimitProject Limit = "project"             // what it does for all of the project's users
)

// Meaning is what an answer means.
type Meaning struct {
	// Row is the id of the table's row, such as "T1"; empty where the answer is
	// not known, and then Message says so.
	Row   string
	Stage jobs.Stage
	Fault jobs.Fault // who must act
	Retry Retry
	// Window is how long it is worth trying again, with [Briefly].
	Window time.Duration
	// NotBefore is the time that Google names, with [Later]; zero where it names none.
	NotBefore time.Time
	// Limit is what is spent, with [Later]; empty where that is not known. Where it may
	// be the user's or the project's, it is the user's: then no other user waits in vain.
	Limit Limit
	// OneUser says that a fault of the operator's or the administrator's may
	// concern this user alone.
	OneUser bool
	// Message is what happened, and Fix what mends it. They have placeholders
	// until For fills them in.
	Message, Fix string
	// Tell is how this answer is told from others that fit as well; only [Find]
	// has it, and only where there are several.
	Tell string

	found found
}

// Passes tells whether nobody has to act, so that it is worth trying again.
func (m Meaning) Passes() bool { return m.Fault == jobs.FaultGoogle || m.Fault == jobs.FaultQuota }

// Lasts tells whether an operator or administrator must act before it can succeed.
func (m Meaning) Lasts() bool { return m.Fault == jobs.FaultOperator || m.Fault == jobs.FaultAdmin }

// Of finds what an answer means: by Google's code and words, for one status
// covers many causes; and by stage and status alone where those are not known.
func Of(a Answer) Meaning {
	m := known(a)
	if a.Self && a.Object == "" && (m.Fault == jobs.FaultUser || m.Fault == jobs.FaultAdmin) {
		// A service account is the operator's, and no user of a domain.
		m.Fault, m.OneUser = jobs.FaultOperator, true // another method, or another object, may be allowed
		m.Message, m.Fix = "Google refused the call for the service account {account} itself.", "Grant {account} a role that allows it; where the method is one on a user's own data, act as that user."
	}
	m.Stage = a.Stage
	m.found = find(a.Text)
	m.found.object = a.Object
	if m.Retry == Later {
		m.NotBefore, m.Limit = m.found.notBefore, limitOf(a)
	}
	return m
}

// limitOf tells which limit an answer that names one is about.
func limitOf(a Answer) Limit {
	if a.Object != "" {
		return "" // of a bucket, or whatever Cloud Storage counts
	}
	said := strings.ToLower(a.Code + " " + a.Text)
	for _, l := range limits {
		if l.stage == a.Stage && strings.Contains(said, l.says) {
			return l.limit
		}
	}
	return ""
}

func known(a Answer) Meaning {
	text := strings.ToLower(a.Text)
	for _, r := range table(a) {
		if r.matches(a, text) {
			m := r.Meaning()
			if a.Status == http.StatusTooManyRequests && m.Fault != jobs.FaultQuota {
				break // whatever else it says
			}
			return m
		}
	}
	return unknown(a)
}

// table gives the rows that may match.
func table(a Answer) []Row {
	switch {
	case a.Code == "noIdentity": // which signing takes, and Cloud Storage
		return signRows
	case a.Object != "":
		return slices.Concat(objectRows, commonRows)
	case a.Stage == jobs.StageSign:
		return slices.Concat(signRows, commonRows)
	case a.Stage == jobs.StageExchange:
		return slices.Concat(exchangeRows, commonRows)
	}
	return slices.Concat(callRows, commonRows)
}

// unknown is the safe reading of an answer that is not in the table.
func unknown(a Answer) Meaning {
	for _, r := range unknownRows {
		if (r.Stage == "" || r.Stage == a.Stage) && r.from <= a.Status && a.Status <= r.to {
			return r.Meaning
		}
	}
	return Meaning{} // not reached: the last row matches everything
}

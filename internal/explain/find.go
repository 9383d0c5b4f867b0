package explain

import (
	"cmp"
	"html"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// MaxText is how much of a text Find looks at, in bytes.
const MaxText = 1 << 20

// Find recognises Google's answer in a text of any kind: JSON, a log line,
// another tool's message, or just some words of it. The best come first; where
// several fit as well, Tell says of each how it is told from the others. Of an
// answer that is in no row it reads the status; where there is not even that,
// it finds nothing.
//
// What n leaves open is filled in from the text where that names it in a form
// that is beyond doubt. Nothing else of the text gets into what is found.
func Find(text string, n Names) []Meaning {
	s := read(text)
	n = s.names(n)
	rows := s.rows()
	if len(rows) == 0 && s.status == 0 {
		return nil
	}
	if len(rows) == 0 {
		return []Meaning{Of(Answer{Stage: cmp.Or(s.stage, jobs.StageCall), Status: s.status}).For(n)}
	}
	all := make([]Meaning, 0, len(rows))
	for _, r := range rows {
		m := r.Meaning()
		m.found = find(s.text)
		if m.Retry == Later {
			m.NotBefore, m.Limit = m.found.notBefore, limitOf(Answer{Stage: r.Stage, Text: s.text})
		}
		m.Tell = r.tell(rows)
		all = append(all, m.For(n))
	}
	return all
}

// seen is what a text has of an answer.
type seen struct {
	text   string // without escapes
	lower  string // with single blanks, in lower case
	words  map[string]bool
	stage  jobs.Stage // where the text shows it
	status int
}

var (
	// escapes are what that a text gets on its way through logs and shells.
	escapes = regexp.MustCompile(`\\+(u00[0-9a-fA-F]{2}|[nrt"'/])`)
	word    = regexp.MustCompile(`[A-Za-z_]{2,48}`)
	// camel is a code of gRPC's as Go and Java write it.
	camel      = regexp.MustCompile(`\b(?:[A-Z][a-z]+){2,3}\b|code = [A-Z][a-z]+\b`)
	hump       = regexp.MustCompile(`([a-z])([A-Z])`)
	statusCode = regexp.MustCompile(`(?i)\b(?:http(?:/[0-9.]+)?|status(?:[ _]?code)?|error|code|token|response)["']?[:= ]{1,3}["']?([1-5][0-9]{2})\b`)
)

func read(text string) seen {
	text = text[:min(len(text), MaxText)]
	text = escapes.ReplaceAllStringFunc(html.UnescapeString(text), unescape)
	s := seen{text: text, lower: strings.ToLower(strings.Join(strings.Fields(text), " ")), words: make(map[string]bool)}
	for _, w := range word.FindAllString(text, -1) {
		s.words[w] = true
	}
	for _, w := range camel.FindAllString(text, -1) {
		w = strings.TrimPrefix(w, "code = ")
		s.words[strings.ToUpper(hump.ReplaceAllString(w, "${1}_${2}"))] = true
	}
	s.stage = s.stageOf()
	s.status, _ = strconv.Atoi(first(statusCode, text))
	return s
}

// unescape is what an escape stands for.
func unescape(escape string) string {
	switch kind := strings.TrimLeft(escape, `\`); kind[0] {
	case 'u':
		n, err := strconv.ParseUint(kind[1:], 16, 8)
		if err != nil || n < ' ' {
			return " "
		}
		return string(rune(n))
	case 'n', 'r', 't':
		return " "
	default:
		return kind
	}
}

// stages are what shows the stage of an answer: the first that is found.
var stages = []struct {
	says  string
	stage jobs.Stage
}{
	{`"stage":"sign"`, jobs.StageSign},
	{`"stage":"exchange"`, jobs.StageExchange},
	{`"stage":"call"`, jobs.StageCall},
	{"iamcredentials", jobs.StageSign},
	{"signjwt", jobs.StageSign},
	{"generateaccesstoken", jobs.StageSign},
	{"impersonated credentials", jobs.StageSign},
	{"error_description", jobs.StageExchange},
	{"oauth2.googleapis.com/token", jobs.StageExchange},
	{"cannot fetch token", jobs.StageExchange},
	{"refresherror", jobs.StageExchange},
	{"impersonate: ", jobs.StageSign},
	{"googleapi: ", jobs.StageCall},
	{"httperror ", jobs.StageCall},
	{"gmail.googleapis.com", jobs.StageCall},
	{"www.googleapis.com", jobs.StageCall},
}

func (s seen) stageOf() jobs.Stage {
	packed := strings.ReplaceAll(s.lower, `": "`, `":"`)
	for _, c := range stages {
		if strings.Contains(packed, c.says) {
			return c.stage
		}
	}
	return ""
}

// rows are those that fit best.
func (s seen) rows() []Row {
	var best []Row
	most := 0
	for _, r := range Rows() {
		switch points := s.points(r); {
		case points == 0 || points < most:
		case points > most:
			best, most = []Row{r}, points
		default:
			best = append(best, r)
		}
	}
	return distinct(best)
}

// distinct leaves out what says the same as one before.
func distinct(rows []Row) []Row {
	var out []Row
	for _, r := range rows {
		if !slices.ContainsFunc(out, func(o Row) bool { return o.Message == r.Message && o.Fix == r.Fix }) {
			out = append(out, r)
		}
	}
	return out
}

// What speaks for a row. Google's own words say more than its code, and a
// longer wording more than a shorter one that is part of it.
const (
	forSays    = 400
	forMessage = 400 // ours, where a result of this program is looked at
	forGoogle  = 200 // and one more for each letter, up to another 200
	forPart    = 200
	forCode    = 150
	forStage   = 20
	forHint    = 10 // of a code whose words are not there
)

// points tells how much speaks for a row; 0 is nothing.
func (s seen) points(r Row) int {
	if s.lower == strings.ToLower(r.ID) {
		return forSays // asked for by name
	}
	code := slices.ContainsFunc(strings.Fields(r.Codes), func(c string) bool { return s.words[c] })
	points := s.google(r, code) + s.ours(r)
	if r.Says != "" && strings.Contains(s.lower, r.Says) {
		points += forSays
	}
	switch {
	case code && (points > 0 || r.Says == ""):
		points += forCode
	case code:
		points += forHint
	}
	if points > 0 && r.Stage == s.stage {
		points += forStage
	}
	return points
}

// google counts Google's wordings that the text has, or is a part of.
func (s seen) google(r Row, code bool) int {
	const short, long = 16, 200 // shorter ones are in all kinds of texts
	most := 0
	for wording := range strings.SplitSeq(strings.ToLower(r.Google), " · ") {
		wording = strings.Join(strings.Fields(wording), " ")
		bare := strings.TrimSuffix(wording, ".")
		switch {
		case bare == "":
		case (len(bare) >= short || code || s.lower == bare || s.lower == wording) && has(s.lower, strings.Split(bare, "…")):
			most = max(most, forGoogle+min(len(bare), long))
		case len(s.lower) >= short && strings.Contains(wording, s.lower):
			most = max(most, forPart)
		}
	}
	return most
}

var placeholder = regexp.MustCompile(`\{[a-zA-Z]+\}`)

// ours counts this program's own message.
func (s seen) ours(r Row) int {
	const least = 20 // letters that are not a name
	pieces := placeholder.Split(strings.ToLower(r.Message), -1)
	if len(strings.Join(pieces, "")) < least || !has(s.lower, pieces) {
		return 0
	}
	return forMessage
}

// has tells whether the pieces stand in the text, one behind the other.
func has(text string, pieces []string) bool {
	for _, p := range pieces {
		_, rest, ok := strings.Cut(text, strings.TrimSpace(p))
		if !ok {
			return false
		}
		text = rest
	}
	return true
}

// tell says how a row is told from the others: by what they do not share.
func (r Row) tell(among []Row) string {
	differ := func(other func(Row) bool) bool { return slices.ContainsFunc(among, other) }
	var signs []string
	if differ(func(o Row) bool { return o.Stage != r.Stage }) {
		signs = append(signs, map[jobs.Stage]string{
			jobs.StageSign:     "the answer came from IAM Credentials (iamcredentials.googleapis.com)",
			jobs.StageExchange: "the answer came from the token endpoint (oauth2.googleapis.com/token)",
			jobs.StageCall:     "the answer came from the API that was called",
		}[r.Stage])
	}
	if differ(func(o Row) bool { return o.Self != r.Self }) {
		signs = append(signs, map[bool]string{true: "no user was named to act as", false: "a user was named to act as"}[r.Self])
	}
	if r.Google != "" && differ(func(o Row) bool { return o.Google != r.Google }) {
		signs = append(signs, "Google says: "+r.Google)
	}
	return strings.Join(signs, ", and ")
}

// Names of a form that is beyond doubt. They are short, so that no token
// passes for one.
var (
	account = regexp.MustCompile(`(?:^|[^A-Za-z0-9._%+@-])([a-z][a-z0-9-]{1,28}[a-z0-9]@[a-z][a-z0-9-]{4,28}[a-z0-9]\.iam\.gserviceaccount\.com)\b`)
	user    = regexp.MustCompile(`(?:^|[^A-Za-z0-9._%+@/=~-])([A-Za-z0-9][A-Za-z0-9._+-]{0,31}@(?:[a-z0-9][a-z0-9-]{0,29}\.){1,3}[a-z]{2,12})(?:[^A-Za-z0-9._%+@/=~-]|[.]?(?:\s|$))`)
	project = regexp.MustCompile(`\b(?:projects/|project=)([a-z][a-z0-9-]{4,28}[a-z0-9])(?:[^A-Za-z0-9._-]|[.]?(?:\s|$))`)
)

// names fills in what the text names.
func (s seen) names(n Names) Names {
	n.Account = cmp.Or(n.Account, first(account, s.text))
	if n.User == "" {
		for _, m := range user.FindAllStringSubmatch(s.text, 10) {
			if !strings.HasSuffix(m[1], ".gserviceaccount.com") {
				n.User = m[1]
				break
			}
		}
	}
	n.Project = cmp.Or(n.Project, AccountProject(n.Account), first(project, s.text))
	return n
}

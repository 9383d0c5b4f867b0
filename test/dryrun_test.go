package test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// facts are what there is after a deployment: by kind and name, such as
// "topic onbehalf-jobs", the settings that were chosen for it.
type facts map[string]map[string]string

func (f facts) add(what string, settings map[string]string) {
	if f[what] == nil {
		f[what] = map[string]string{}
	}
	maps.Copy(f[what], settings)
}

// differences says what either side has and the other has not.
func differences(scripts, terraform facts) (list []string) {
	for _, side := range []struct {
		name, other string
		have, lacks facts
	}{{"the scripts", "Terraform", scripts, terraform}, {"Terraform", "the scripts", terraform, scripts}} {
		for what, settings := range side.have {
			if _, ok := side.lacks[what]; !ok {
				list = append(list, fmt.Sprintf("%s: only %s makes it", what, strings.TrimSuffix(side.name, "s")))
				continue
			}
			for name, value := range settings {
				if other, ok := side.lacks[what][name]; !ok || other != value {
					list = append(list, fmt.Sprintf("%s: %s is %q by %s, and %q by %s", what, name, value, side.name, other, side.other))
				}
			}
		}
	}
	slices.Sort(list)
	return list
}

// gcloudCommand is a command that a dry run has printed.
type gcloudCommand struct {
	line  string
	words []string          // after those that say what it does
	flags map[string]string // what is left of them
}

// take is a flag's value, which is then read.
func (c *gcloudCommand) take(flag string) string {
	value := c.flags[flag]
	delete(c.flags, flag)
	return value
}

// settings are flags by other names: "flag" or "flag:setting".
func (c *gcloudCommand) settings(flags ...string) map[string]string {
	settings := map[string]string{}
	for _, flag := range flags {
		flag, name, renamed := strings.Cut(flag, ":")
		if !renamed {
			name = flag
		}
		if value, ok := c.flags[flag]; ok {
			settings[name] = inSeconds(value)
			delete(c.flags, flag)
		}
	}
	return settings
}

// said are flags that every command has, or that make no difference to what there
// is in the end.
var said = map[string]string{
	"quiet":                    "asks nothing",
	"gen2":                     "is the only generation that takes Go 1.26",
	"async":                    "does not wait",
	"condition":                "None is what a binding has",
	"source":                   "is compared file by file",
	"retry":                    "is what a push subscription does by itself",
	"no-allow-unauthenticated": "is what there is until somebody allows it",
	"update-labels":            "has the source's digest, which Terraform has in the archive's name",
	"enable-ttl":               "is what the command is for",
}

// knownCommands says what each command of the scripts makes.
var knownCommands = map[string]func(c *gcloudCommand, f facts){
	"services enable": func(c *gcloudCommand, f facts) {
		for _, api := range c.words {
			f.add("API "+api, nil)
		}
	},
	"services identity create": func(c *gcloudCommand, f facts) { f.add("agent of "+c.take("service"), nil) },
	"iam service-accounts create": func(c *gcloudCommand, f facts) {
		f.add("account "+c.words[0], c.settings("display-name", "description"))
	},
	"iam roles create": func(c *gcloudCommand, f facts) {
		f.add("role "+c.take("project")+"/"+c.words[0], c.settings("title", "permissions", "stage"))
	},
	"pubsub topics create": func(c *gcloudCommand, f facts) {
		for _, topic := range c.words {
			f.add("topic "+topic, nil)
		}
	},
	"pubsub subscriptions create": func(c *gcloudCommand, f facts) {
		f.add("subscription "+c.words[0], c.settings("topic", "message-retention-duration:retention", "expiration-period:expiration",
			"bigquery-table", "write-metadata", "message-filter"))
	},
	// Of the subscriptions only those of triggers are updated; they are named here by
	// their functions.
	"pubsub subscriptions update": func(c *gcloudCommand, f facts) {
		f.add("subscription "+c.words[0], c.settings("message-retention-duration:retention", "expiration-period:expiration", "ack-deadline",
			"min-retry-delay", "max-retry-delay", "dead-letter-topic", "max-delivery-attempts"))
	},
	"firestore databases create": func(c *gcloudCommand, f facts) {
		f.add("database "+c.take("database"), c.settings("location", "type", "delete-protection"))
	},
	"firestore fields ttls update": func(c *gcloudCommand, f facts) {
		f.add("expiry of "+c.take("collection-group")+" by "+c.words[0], c.settings("database"))
	},
	"secrets create": func(c *gcloudCommand, f facts) { f.add("secret "+c.words[0], c.settings("replication-policy")) },
	"secrets versions add": func(c *gcloudCommand, f facts) {
		f.add("version of "+c.words[0], map[string]string{"text": textOf(c.take("data-file"))})
	},
	"scheduler jobs create pubsub": func(c *gcloudCommand, f facts) {
		settings := c.settings("location", "schedule", "time-zone", "topic", "message-body:text")
		if file := c.take("message-body-from-file"); file != "" {
			settings["text"] = textOf(file)
		}
		f.add("schedule "+c.words[0], settings)
	},
	"functions deploy": func(c *gcloudCommand, f facts) {
		f.add("subscription "+c.words[0], c.settings("trigger-topic:topic", "trigger-service-account:account"))
		settings := c.settings("region", "runtime", "entry-point", "ingress-settings", "cpu", "memory", "concurrency", "timeout",
			"min-instances", "max-instances", "run-service-account", "build-service-account")
		for _, variable := range strings.Split(strings.TrimPrefix(c.take("set-env-vars"), "^;^"), ";") {
			name, value, _ := strings.Cut(variable, "=")
			settings["environment "+name] = value
		}
		f.add("function "+c.words[0], settings)
	},

	"logging metrics create": func(c *gcloudCommand, f facts) {
		settings := fileSettings(c.take("config-from-file"))
		delete(settings, "description") // what it is in the end is the next command's
		f.add("metric "+c.words[0], settings)
	},
	// The file's digest is at its end.
	"logging metrics update": func(c *gcloudCommand, f facts) {
		f.add("metric "+c.words[0], map[string]string{"description": digestAtEnd.ReplaceAllString(c.take("description"), "")})
	},
	"monitoring channels create": func(c *gcloudCommand, f facts) {
		f.add("channel by "+c.take("type"), c.settings("display-name", "channel-labels", "user-labels"))
	},
	"monitoring policies create": func(c *gcloudCommand, f facts) {
		file := c.take("policy-from-file")
		f.add("alert "+strings.TrimSuffix(base(file), ".yaml"), fileSettings(file))
		label, _, _ := strings.Cut(c.take("user-labels"), ",digest=")
		settings := c.settings("notification-channels")
		settings["user-labels"] = label
		f.add("alert "+strings.TrimSuffix(base(file), ".yaml"), settings)
	},
	"monitoring dashboards create": func(c *gcloudCommand, f facts) {
		settings := fileSettings(c.take("config"))
		delete(settings, "labels.onbehalf") // the file's digest
		f.add("dashboard", settings)
	},

	"bq mk": func(c *gcloudCommand, f facts) {
		_, name, _ := strings.Cut(c.words[0], ":")
		if _, ok := c.flags["dataset"]; ok {
			c.take("dataset")
			f.add("dataset "+name, c.settings("location"))
		}
		if _, ok := c.flags["table"]; !ok {
			return
		}
		c.take("table")
		settings := c.settings("time_partitioning_type", "time_partitioning_field", "description")
		settings["schema"] = textOf(c.take("schema"))
		f.add("table "+name, settings)
	},
	"bq add-iam-policy-binding": func(c *gcloudCommand, f facts) {
		_, name, _ := strings.Cut(c.words[0], ":")
		f.add(right(c.take("role"), "table", name, c.take("member")), c.settings("table"))
	},

	"projects add-iam-policy-binding":             binding("project"),
	"iam service-accounts add-iam-policy-binding": binding("account"),
	"pubsub topics add-iam-policy-binding":        binding("topic"),
	"pubsub subscriptions add-iam-policy-binding": binding("subscription"),
	"secrets add-iam-policy-binding":              binding("secret"),
	"run services add-iam-policy-binding":         binding("service"),
}

var (
	digestAtEnd = regexp.MustCompile(` \[[0-9a-f]{16}\]$`)
	capital     = regexp.MustCompile(`[A-Z]`)
)

func binding(kind string) func(c *gcloudCommand, f facts) {
	return func(c *gcloudCommand, f facts) {
		switch kind { // of what may be another project's
		case "secret":
			c.words[0] = c.take("project") + "/" + c.words[0]
		case "account": // says it in its name
			c.take("project")
		}
		f.add(right(c.take("role"), kind, c.words[0], c.take("member")), c.settings("region"))
	}
}

// right is a fact by itself: who may do what, and on what.
func right(role, kind, name, member string) string {
	return fmt.Sprintf("right of %s: %s on the %s %s", member, role, kind, name)
}

// laterValues are what only a command knows, as the other side writes it.
var laterValues = []struct {
	command *regexp.Regexp
	value   string
}{
	{regexp.MustCompile(`^\$\(gcloud eventarc triggers describe "\$\(gcloud functions describe (\S+) .*\)$`), "$1"},
	{regexp.MustCompile(`\$\(gcloud secrets versions describe latest [^']*'[^']*'\)`), "VERSION"},
	{regexp.MustCompile(`\$\(gcloud beta monitoring channels list .*\)$`), "CHANNEL"},
	{regexp.MustCompile(`\$\(sed -e .* (deploy/\S+)\)$`), "$1"},
	{regexp.MustCompile(`\$\(gcloud projects describe [^']*'[^']*'\)`), "NUMBER"},
	{regexp.MustCompile(`\$\(deploy/lib/source-digest\.sh\)`), "DIGEST"},
}

// dryRunFacts reads what a dry run has printed.
func dryRunFacts(lines []string) (facts, error) {
	f := facts{}
	var problems []error
	for _, line := range lines {
		if err := readCommand(f, line); err != nil {
			problems = append(problems, fmt.Errorf("%s: %w", line, err))
		}
	}
	return f, errors.Join(problems...)
}

func readCommand(f facts, line string) error {
	words, err := shellWords(line)
	if err != nil {
		return err
	}
	c := &gcloudCommand{line: line, flags: map[string]string{}}
	if words[0] == "bq" {
		c.words = words[:1:1]
	}
	for _, word := range words[1:] {
		for _, later := range laterValues {
			word = later.command.ReplaceAllString(word, later.value)
		}
		flag, isFlag := strings.CutPrefix(word, "--")
		switch name, value, _ := strings.Cut(flag, "="); {
		case strings.Contains(word, "$("):
			return fmt.Errorf("%s: is a value that this does not know", word)
		case isFlag:
			c.flags[name] = value
		default:
			c.words = append(c.words, word)
		}
	}
	if len(c.words) > 0 && (c.words[0] == "alpha" || c.words[0] == "beta") {
		c.words = c.words[1:]
	}
	for n := len(c.words); n > 0; n-- {
		read := knownCommands[strings.Join(c.words[:n], " ")]
		if read == nil {
			continue
		}
		c.words = c.words[n:]
		read(c, f)
		for _, flag := range []string{"project", "project_id"} { // gcloud's and bq's
			if of, ok := c.flags[flag]; ok && of != terraformProject {
				return fmt.Errorf("is of the project %q", of)
			}
			delete(c.flags, flag)
		}
		maps.DeleteFunc(c.flags, func(flag, _ string) bool { return said[flag] != "" })
		if len(c.flags) > 0 {
			return fmt.Errorf("has flags that this does not know: %q", slices.Sorted(maps.Keys(c.flags)))
		}
		return nil
	}
	return errors.New("is a command that this does not know")
}

// textOf is what is in a file that a command names, seen from the root folder.
func textOf(file string) string {
	if !filepath.IsAbs(file) {
		file = filepath.Join(root, file)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// fileSettings has what a YAML file says, each value by its path, as flatten and
// Terraform name them.
func fileSettings(file string) map[string]string {
	var value any
	settings := map[string]string{}
	if err := yaml.Unmarshal([]byte(textOf(file)), &value); err != nil {
		settings["error"] = err.Error()
		return settings
	}
	flatten(settings, "", value)
	return underscored(settings)
}

// underscored has settings by their names in Terraform's spelling: displayName is
// display_name.
func underscored(settings map[string]string) map[string]string {
	renamed := map[string]string{}
	for path, value := range settings {
		renamed[capital.ReplaceAllStringFunc(path, func(c string) string { return "_" + strings.ToLower(c) })] = value
	}
	return renamed
}

// inSeconds writes 7d and 10m as Terraform does.
func inSeconds(value string) string {
	switch value {
	case "7d":
		return "604800s"
	case "10m":
		return "600s"
	}
	return value
}

// shellWords splits a line into words as a shell does, but leaves $(…) as it is.
func shellWords(line string) ([]string, error) {
	var words []string
	for rest := strings.TrimSpace(line); rest != ""; rest = strings.TrimLeft(rest, " ") {
		word, after, err := shellWord(rest)
		if err != nil {
			return nil, err
		}
		words, rest = append(words, word), after
	}
	if len(words) == 0 {
		return nil, errors.New("is empty")
	}
	return words, nil
}

func shellWord(text string) (word, rest string, err error) {
	for text != "" {
		switch text[0] {
		case ' ':
			return word, text, nil
		case '\'':
			quoted, after, ok := strings.Cut(text[1:], "'")
			if !ok {
				return "", "", errors.New("has a ' too many")
			}
			word, text = word+quoted, after
		case '"':
			quoted, after, err := doubleQuoted(text[1:])
			if err != nil {
				return "", "", err
			}
			word, text = word+quoted, after
		case '\\':
			word, text = word+text[1:min(2, len(text))], text[min(2, len(text)):]
		default:
			word, text = word+text[:1], text[1:]
		}
	}
	return word, "", nil
}

// doubleQuoted reads to the " that ends it.
func doubleQuoted(text string) (word, rest string, err error) {
	for text != "" {
		switch {
		case text[0] == '"':
			return word, text[1:], nil
		case strings.HasPrefix(text, "$("):
			inner, after, err := substituted(text[2:])
			if err != nil {
				return "", "", err
			}
			word, text = word+"$("+inner+")", after
		default:
			word, text = word+text[:1], text[1:]
		}
	}
	return "", "", errors.New(`has a " too many`)
}

// substituted reads to the ) that ends it, and leaves all as it is.
func substituted(text string) (inner, rest string, err error) {
	for text != "" {
		switch text[0] {
		case ')':
			return inner, text[1:], nil
		case '\'':
			quoted, after, _ := strings.Cut(text[1:], "'")
			inner, text = inner+"'"+quoted+"'", after
		case '"':
			quoted, after, err := doubleQuoted(text[1:])
			if err != nil {
				return "", "", err
			}
			inner, text = inner+`"`+quoted+`"`, after
		default:
			inner, text = inner+text[:1], text[1:]
		}
	}
	return "", "", errors.New("has a $( that does not end")
}

// base is the name at the end of a resource's full one.
func base(name string) string { return path.Base(name) }

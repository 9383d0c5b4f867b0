package jobs

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"
)

// node is a value in a file of JSON or YAML, with the line on which it stands.
type node struct {
	kind  jsontext.Kind
	line  int    // that of its name, where it has one
	name  string // in an object
	text  string // of a string; of a number, as it was written
	nodes []*node
}

// readTree reads one document. What only YAML has is refused: aliases, tags, and
// numbers that JSON cannot write. An error is a [*BatchError].
func readTree(data []byte) (*node, error) {
	// Not all JSON is YAML: tabs and surrogate pairs are not.
	if root := readJSON(data); root != nil {
		return root, nil
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return nil, &BatchError{Problem: "is empty"}
	case err != nil:
		return nil, yamlError(err)
	}
	switch err := decoder.Decode(new(yaml.Node)); {
	case err == nil:
		return nil, &BatchError{Problem: "is followed by another YAML document; give one"}
	case !errors.Is(err, io.EOF):
		return nil, yamlError(err)
	}
	return fromYAML("", document.Content[0])
}

// yamlProblem is how the library says where something is wrong.
var yamlProblem = regexp.MustCompile(`^yaml: (?:line ([0-9]+): )?`)

func yamlError(err error) *BatchError {
	text := err.Error()
	found := yamlProblem.FindStringSubmatch(text)
	if found == nil {
		return &BatchError{Problem: "cannot be read as YAML"}
	}
	line, _ := strconv.Atoi(found[1]) // 0 where there is none
	return &BatchError{Line: line, Problem: "is not valid YAML: " + Quote(text[len(found[0]):])}
}

// jsonReader counts lines.
type jsonReader struct {
	data  []byte
	d     *jsontext.Decoder
	line  int
	until int64 // where in data the lines were counted up to
}

// readJSON gives nil for what is not one value in JSON.
func readJSON(data []byte) *node {
	r := &jsonReader{data: data, line: 1, d: jsontext.NewDecoder(bytes.NewReader(data), jsontext.AllowDuplicateNames(true))}
	root, err := r.value()
	if err != nil {
		return nil
	}
	if _, err := r.d.ReadToken(); !errors.Is(err, io.EOF) {
		return nil
	}
	return root
}

func (r *jsonReader) value() (*node, error) {
	n := &node{kind: r.d.PeekKind()}
	if n.kind == '{' || n.kind == '[' {
		return n, r.values(n)
	}
	value, err := r.d.ReadValue()
	if err != nil {
		return nil, err
	}
	n.line, n.text = r.lines(), string(value)
	if n.kind == '"' {
		value, err = jsontext.AppendUnquote(nil, value)
		n.text = string(value)
	}
	return n, err
}

// values reads an object or an array.
func (r *jsonReader) values(n *node) error {
	if _, err := r.d.ReadToken(); err != nil {
		return err
	}
	n.line = r.lines()
	for r.d.PeekKind() != '}' && r.d.PeekKind() != ']' {
		name, line := "", 0
		if n.kind == '{' {
			token, err := r.d.ReadToken()
			if err != nil {
				return err
			}
			name, line = token.String(), r.lines()
		}
		child, err := r.value()
		if err != nil {
			return err
		}
		if n.kind == '{' {
			child.name, child.line = name, line
		}
		n.nodes = append(n.nodes, child)
	}
	_, err := r.d.ReadToken()
	return err
}

// lines gives the line that has been read up to.
func (r *jsonReader) lines() int {
	offset := r.d.InputOffset()
	r.line += bytes.Count(r.data[r.until:offset], []byte("\n"))
	r.until = offset
	return r.line
}

func fromYAML(path string, y *yaml.Node) (*node, error) {
	refuse := func(problem string) (*node, error) {
		return nil, &BatchError{Line: y.Line, Path: path, Problem: problem}
	}
	n := &node{line: y.Line}
	switch tag := y.ShortTag(); {
	case y.Kind == yaml.AliasNode:
		return refuse("is an alias, " + Quote("*"+y.Value) + "; write out what it stands for")
	case y.Kind == yaml.ScalarNode:
		if problem := n.scalar(tag, y.Value); problem != "" {
			return refuse(problem)
		}
		return n, nil
	case y.Kind == yaml.MappingNode && tag == "!!map":
		return n, n.fromMapping(path, y.Content)
	case y.Kind == yaml.SequenceNode && tag == "!!seq":
		n.kind = '['
		for i, item := range y.Content {
			child, err := fromYAML(under(path, strconv.Itoa(i)), item)
			if err != nil {
				return nil, err
			}
			n.nodes = append(n.nodes, child)
		}
		return n, nil
	default:
		return refuse("has the tag " + Quote(tag) + "; leave it out")
	}
}

func (n *node) fromMapping(path string, pairs []*yaml.Node) error {
	n.kind = '{'
	for i := 0; i+1 < len(pairs); i += 2 {
		key, value := pairs[i], pairs[i+1]
		switch tag := key.ShortTag(); {
		case tag == "!!merge":
			return &BatchError{Line: key.Line, Path: path, Problem: "has a merge key, <<; write out what it stands for"}
		case key.Kind != yaml.ScalarNode:
			return &BatchError{Line: key.Line, Path: path, Problem: "has a name that is not text"}
		}
		child, err := fromYAML(under(path, key.Value), value)
		if err != nil {
			return err
		}
		child.name, child.line = key.Value, key.Line
		n.nodes = append(n.nodes, child)
	}
	return nil
}

// jsonNumber is a number as JSON has it.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?$`)

// scalar takes the value with the tag that YAML gives it, and says what is wrong
// with it, or nothing.
func (n *node) scalar(tag, text string) (problem string) {
	n.text = text
	switch lower := strings.ToLower(text); {
	case tag == "!!null":
		n.kind = 'n'
	case tag == "!!str" || tag == "!!timestamp" || tag == "!!merge": // a time is sent as it was written
		n.kind = '"'
	case tag == "!!bool" && lower == "true":
		n.kind = 't'
	case tag == "!!bool" && lower == "false":
		n.kind = 'f'
	case tag == "!!int" || tag == "!!float":
		if n.kind = '0'; !jsonNumber.MatchString(text) { // 0176 would be 126
			return "is " + Quote(text) + ", which YAML takes for a number that JSON does not have; write it in decimals, or in quotes if it is text"
		}
	default:
		return "has the tag " + Quote(tag) + "; leave it out"
	}
	return ""
}

// appendJSON writes the value as JSON. An error is a [*BatchError].
func (n *node) appendJSON(to []byte, path string) ([]byte, error) {
	switch n.kind {
	case '{':
		return n.appendObject(to, path)
	case '[':
		to = append(to, '[')
		for i, child := range n.nodes {
			if i > 0 {
				to = append(to, ',')
			}
			var err error
			if to, err = child.appendJSON(to, under(path, strconv.Itoa(i))); err != nil {
				return nil, err
			}
		}
		return append(to, ']'), nil
	case '"':
		return n.appendText(to, path, n.text)
	case 't':
		return append(to, "true"...), nil
	case 'f':
		return append(to, "false"...), nil
	case '0':
		return append(to, n.text...), nil
	}
	return append(to, "null"...), nil
}

func (n *node) appendObject(to []byte, path string) ([]byte, error) {
	given := make(map[string]bool, len(n.nodes))
	to = append(to, '{')
	for i, child := range n.nodes {
		at := under(path, child.name)
		if given[child.name] {
			return nil, &BatchError{Line: child.line, Path: at, Problem: "is given twice"}
		}
		given[child.name] = true
		if i > 0 {
			to = append(to, ',')
		}
		var err error
		if to, err = child.appendText(to, at, child.name); err != nil {
			return nil, err
		}
		if to, err = child.appendJSON(append(to, ':'), at); err != nil {
			return nil, err
		}
	}
	return append(to, '}'), nil
}

func (n *node) appendText(to []byte, path, text string) ([]byte, error) {
	to, err := jsontext.AppendQuote(to, text)
	if err != nil {
		return nil, &BatchError{Line: n.line, Path: path, Problem: "is not valid UTF-8"}
	}
	return to, nil
}

// lineOf gives the line of what stands at the path, or of the nearest above it.
func (n *node) lineOf(path string) int {
	if n == nil {
		return 0
	}
	at := ""
	for below, to := n.towards(path, at); below != nil; below, to = n.towards(path, at) {
		n, at = below, to
	}
	return n.line
}

// towards gives the child at which the path ends, or goes on, and its own path.
func (n *node) towards(path, at string) (below *node, to string) {
	for i, child := range n.nodes {
		name := child.name
		if n.kind == '[' {
			name = strconv.Itoa(i)
		}
		to := under(at, name)
		if rest, ok := strings.CutPrefix(path, to); ok && (rest == "" || rest[0] == '.' || rest[0] == '[') {
			return child, to
		}
	}
	return nil, ""
}

// child gives an object's field; nil where it has none of that name.
func (n *node) child(name string) *node {
	if n == nil {
		return nil
	}
	for _, child := range n.nodes {
		if n.kind == '{' && child.name == name {
			return child
		}
	}
	return nil
}

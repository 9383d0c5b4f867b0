package batch

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"text/template/parse"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// uses is what a template needs to be known of a user.
type uses struct {
	fields  []string // of the Directory's user, as the API names them
	columns []string // of the CSV file
}

// compile reads a template. What it could not be made with for any user is an
// error; what is left to the library cannot reach a method, count without end, or write
// what is no text: each look at a field, each range and each output is put through a
// function of ours.
func compile(text string) (*template.Template, uses, error) {
	trees, err := parse.Parse("job", text, "", "", known())
	if err != nil {
		return nil, uses{}, parseError(err)
	}
	if len(trees) != 1 {
		return nil, uses{}, errors.New("holds define or block; a template stands by itself")
	}
	c := &compiler{tree: trees["job"], variables: []variable{{"$", shapeScope}}}
	if err := c.list(c.tree.Root, shapeScope); err != nil {
		return nil, uses{}, err
	}
	t, err := template.New("job").Funcs(calls()).AddParseTree("job", c.tree)
	return t, c.uses, err
}

// known has the names of the functions, for the parser.
func known() map[string]any {
	all := make(map[string]any, len(functions))
	for name := range functions {
		all[name] = name
	}
	return all
}

var (
	// parserError is how the library says where in a template something is wrong.
	parserError = regexp.MustCompile(`^template: job:([0-9]+): `)
	noFunction  = regexp.MustCompile(`^function ("[^"]*") not defined$`)
)

func parseError(err error) error {
	found := parserError.FindStringSubmatch(err.Error())
	if found == nil {
		return errors.New("is no template: " + jobs.Quote(err.Error()))
	}
	problem, where := strings.TrimPrefix(err.Error(), found[0]), ""
	if found[1] != "1" {
		where = " in line " + found[1] + " of the text"
	}
	if function := noFunction.FindStringSubmatch(problem); function != nil {
		return fmt.Errorf("calls %s%s, which is no function; accepted are %s", function[1], where, sorted(functions))
	}
	return fmt.Errorf("is no template%s: %s", where, problem)
}

func sorted[V any](names map[string]V) string {
	return strings.Join(slices.Sorted(maps.Keys(names)), ", ")
}

// compiler goes through the tree of a template, and changes it.
type compiler struct {
	tree      *parse.Tree
	variables []variable // that can be seen, the innermost last
	uses      uses
}

type variable struct {
	name  string
	shape shape
}

// list goes through nodes in which the dot has that shape.
func (c *compiler) list(l *parse.ListNode, dot shape) error {
	if l == nil {
		return nil
	}
	for _, node := range l.Nodes {
		if err := c.node(node, dot); err != nil {
			return err
		}
	}
	return nil
}

func (c *compiler) node(node parse.Node, dot shape) error {
	switch n := node.(type) {
	case *parse.ActionNode:
		return c.action(n, dot)
	case *parse.IfNode:
		return c.branch(&n.BranchNode, dot, func(shape) (shape, error) { return dot, nil })
	case *parse.WithNode:
		return c.branch(&n.BranchNode, dot, func(value shape) (shape, error) { return value, nil })
	case *parse.RangeNode:
		return c.loop(n, dot)
	case *parse.TextNode, *parse.CommentNode, *parse.BreakNode, *parse.ContinueNode:
		return nil
	}
	return fmt.Errorf("holds %s; a template stands by itself", jobs.Quote(node.String()))
}

// action is {{…}}: it writes, unless it declares a variable.
func (c *compiler) action(n *parse.ActionNode, dot shape) error {
	written := shown(n.Pipe)
	value, err := c.pipe(n.Pipe, dot)
	switch {
	case err != nil || len(n.Pipe.Decl) > 0:
		return err
	case value == shapeList:
		return fmt.Errorf("writes %s, which is a list; go through it with range, or use join or index", written)
	case value == shapeObject || value.whole():
		return fmt.Errorf("writes %s, which has fields; name one of them%s", written, value.accepted())
	}
	n.Pipe.Cmds = append(n.Pipe.Cmds, c.call(n.Pos, printName))
	return nil
}

// branch is if, with and range; inner gives the shape of the dot in it.
func (c *compiler) branch(n *parse.BranchNode, dot shape, inner func(shape) (shape, error)) error {
	before := len(c.variables)
	defer func() { c.variables = c.variables[:before] }()
	value, err := c.pipe(n.Pipe, dot)
	if err != nil {
		return err
	}
	within, err := inner(value)
	if err != nil {
		return err
	}
	seen := len(c.variables)
	if err := c.list(n.List, within); err != nil {
		return err
	}
	c.variables = c.variables[:seen]
	return c.list(n.ElseList, dot)
}

// loop is a range, which goes through what ours says that it may.
func (c *compiler) loop(n *parse.RangeNode, dot shape) error {
	written := shown(n.Pipe)
	return c.branch(&n.BranchNode, dot, func(value shape) (shape, error) {
		if value != shapeList && value != shapeObject && value != shapeAny {
			return 0, fmt.Errorf("goes with range through %s, which is no list", written)
		}
		for i := range n.Pipe.Decl {
			if !n.Pipe.IsAssign { // they are of the items, not of the list
				c.variables[len(c.variables)-1-i].shape = shapeAny
			}
		}
		root := &parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: []string{"$"}}
		n.Pipe.Cmds = append(n.Pipe.Cmds, c.call(n.Pos, eachName, root))
		return shapeAny, nil
	})
}

// pipe gives the shape of what a pipeline makes.
func (c *compiler) pipe(pipe *parse.PipeNode, dot shape) (shape, error) {
	value := shapeLiteral
	for i, command := range pipe.Cmds {
		if i > 0 && value.whole() {
			return 0, fmt.Errorf("pipes into %s what has fields; name one of them%s", shown(command), value.accepted())
		}
		var err error
		if value, err = c.command(command, dot, i > 0); err != nil {
			return 0, err
		}
	}
	for _, declared := range pipe.Decl {
		name := declared.Ident[0]
		if !pipe.IsAssign {
			c.variables = append(c.variables, variable{name, value})
			continue
		}
		// Which of several assignments was made is not known before there is a user.
		if i := c.find(name); c.variables[i].shape.whole() || value.whole() {
			return 0, fmt.Errorf("assigns to %s what has fields; declare another variable with :=", name)
		}
		c.variables[c.find(name)].shape = shapeAny
	}
	return value, nil
}

func (c *compiler) find(name string) int {
	for i, v := range slices.Backward(c.variables) {
		if v.name == name {
			return i
		}
	}
	return 0 // $, which the parser has seen to
}

func (c *compiler) command(command *parse.CommandNode, dot shape, piped bool) (shape, error) {
	first, isCall := command.Args[0].(*parse.IdentifierNode)
	if !isCall {
		if piped || len(command.Args) > 1 {
			return 0, fmt.Errorf("calls %s, which is no function; accepted are %s", shown(command.Args[0]), sorted(functions))
		}
		var err error
		var value shape
		command.Args[0], value, err = c.operand(command.Args[0], dot)
		return value, err
	}
	f := functions[first.Ident]
	given := len(command.Args) - 1
	if piped {
		given++
	}
	if given < f.min || given > f.max {
		return 0, fmt.Errorf("gives %d arguments to %s, which takes %s", given, first.Ident, f.takes())
	}
	return c.arguments(first.Ident, command, dot)
}

func (f function) takes() string {
	if f.min == f.max {
		return strconv.Itoa(f.min)
	}
	return fmt.Sprintf("%d to %d", f.min, f.max)
}

// arguments looks at those of a call. Only index may be given what stands for the
// whole user, row or batch, and then with names.
func (c *compiler) arguments(function string, command *parse.CommandNode, dot shape) (shape, error) {
	result := shapeAny
	for i, written := range command.Args[1:] {
		said := shown(written)
		argument, value, err := c.operand(written, dot)
		switch {
		case err != nil:
			return 0, err
		case value.whole() && (function != "index" || i > 0):
			return 0, fmt.Errorf("gives %s to %s; name one of its fields%s", said, function, value.accepted())
		case value.whole():
			if result, err = c.named(value, said, command.Args[2:]); err != nil {
				return 0, err
			}
		}
		command.Args[1+i] = argument
	}
	return result, nil
}

// named gives the shape of a field that index takes from the whole user or row.
func (c *compiler) named(of shape, said string, keys []parse.Node) (shape, error) {
	var names []string
	for _, key := range keys {
		if name, ok := key.(*parse.StringNode); ok {
			names = append(names, name.Text)
		}
	}
	if len(keys) == 0 || len(names) < len(keys) {
		return 0, fmt.Errorf("takes from %s by index what is not named in quotes", said)
	}
	return c.fields(of, names)
}

// operand gives what takes the place of a value in the tree, and its shape.
func (c *compiler) operand(node parse.Node, dot shape) (parse.Node, shape, error) {
	switch n := node.(type) {
	case *parse.DotNode:
		return n, dot, nil
	case *parse.FieldNode:
		value, err := c.fields(dot, n.Ident)
		return c.get(n.Pos, &parse.DotNode{NodeType: parse.NodeDot, Pos: n.Pos}, n.Ident), value, err
	case *parse.VariableNode:
		of := c.variables[c.find(n.Ident[0])].shape
		if len(n.Ident) == 1 {
			return n, of, nil
		}
		value, err := c.fields(of, n.Ident[1:])
		return c.get(n.Pos, &parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: n.Ident[:1]}, n.Ident[1:]), value, err
	case *parse.ChainNode:
		inner, of, err := c.operand(n.Node, dot)
		if err != nil {
			return nil, 0, err
		}
		value, err := c.fields(of, n.Field)
		return c.get(n.Pos, inner, n.Field), value, err
	case *parse.PipeNode:
		value, err := c.pipe(n, dot)
		return n, value, err
	case *parse.IdentifierNode: // without arguments, within those of another
		return nil, 0, fmt.Errorf("calls %s without arguments; put a call in parentheses", n.Ident)
	case *parse.NilNode:
		return nil, 0, errors.New("holds nil, which nothing here is")
	}
	return node, shapeLiteral, nil
}

// get is a call of ours in the place of a field.
func (c *compiler) get(pos parse.Pos, of parse.Node, names []string) *parse.PipeNode {
	arguments := []parse.Node{of}
	for _, name := range names {
		arguments = append(arguments, &parse.StringNode{NodeType: parse.NodeString, Pos: pos, Quoted: strconv.Quote(name), Text: name})
	}
	return &parse.PipeNode{NodeType: parse.NodePipe, Pos: pos, Cmds: []*parse.CommandNode{c.call(pos, getName, arguments...)}}
}

func (c *compiler) call(pos parse.Pos, function string, arguments ...parse.Node) *parse.CommandNode {
	name := parse.NewIdentifier(function).SetPos(pos).SetTree(c.tree)
	return &parse.CommandNode{NodeType: parse.NodeCommand, Pos: pos, Args: append([]parse.Node{name}, arguments...)}
}

// fields gives the shape of a field of a field, and notes what it needs.
func (c *compiler) fields(of shape, names []string) (shape, error) {
	for _, name := range names {
		switch of {
		case shapeAny, shapeObject:
			of = shapeAny
		case shapeRow:
			c.uses.columns = append(c.uses.columns, name)
			of = shapeOne
		case shapeList:
			return 0, fmt.Errorf("asks %s of a list; go through it with range, or take one with index", dotted(name))
		case shapeOne, shapeLiteral:
			return 0, fmt.Errorf("asks %s of a text, which has no fields", dotted(name))
		default:
			known, what, where := of.known()
			value, ok := known[name]
			if !ok {
				return 0, fmt.Errorf("uses %s%s, which is no field %s%s", where, dotted(name), what, of.accepted())
			}
			if of == shapeUser && name != "PrimaryEmail" {
				c.uses.fields = append(c.uses.fields, inJSON(name))
			}
			of = value
		}
	}
	return of, nil
}

// dotted is a field's name, which index may have from a string.
func dotted(name string) string {
	return "." + jobs.Path("", jsontext.Pointer("").AppendToken(name))
}

// shown is a part of a template, for people.
func shown(node parse.Node) string { return jobs.Quote(node.String()) }

package batch

import "text/template/parse"

// step is text, or a field that goes through functions of one argument. Most templates
// are no more than that, and several times faster to fill in without the library.
type step struct {
	text  string
	names []string
	calls []func(any) (string, error)
}

// steps gives those of a compiled template; nil where it is more than that.
func steps(root *parse.ListNode) []step {
	all := make([]step, 0, len(root.Nodes))
	for _, node := range root.Nodes {
		switch n := node.(type) {
		case *parse.TextNode:
			all = append(all, step{text: string(n.Text)})
		case *parse.ActionNode:
			s, ok := stepOf(n.Pipe)
			if !ok {
				return nil
			}
			all = append(all, s)
		default:
			return nil
		}
	}
	return all
}

func stepOf(pipe *parse.PipeNode) (s step, ok bool) {
	if len(pipe.Decl) > 0 {
		return step{}, false
	}
	for i, command := range pipe.Cmds {
		name, isCall := command.Args[0].(*parse.IdentifierNode)
		if isCall {
			call, ok := calls()[name.Ident].(func(any) (string, error))
			if !ok {
				return step{}, false
			}
			s.calls = append(s.calls, call)
		}
		// The field is the first command, or the argument of its function.
		last := command.Args[len(command.Args)-1]
		switch {
		case i > 0 && len(command.Args) == 1:
		case i == 0 && (!isCall || len(command.Args) == 2):
			if s.names = fieldNames(last); s.names == nil {
				return step{}, false
			}
		default:
			return step{}, false
		}
	}
	return s, true
}

// fieldNames are those that a call of get names, of the scope; nil for anything else.
func fieldNames(node parse.Node) []string {
	pipe, ok := node.(*parse.PipeNode)
	if !ok || len(pipe.Decl) > 0 || len(pipe.Cmds) != 1 {
		return nil
	}
	arguments := pipe.Cmds[0].Args
	if name, ok := arguments[0].(*parse.IdentifierNode); !ok || name.Ident != getName {
		return nil
	}
	if _, ok := arguments[1].(*parse.DotNode); !ok {
		return nil
	}
	var names []string
	for _, argument := range arguments[2:] {
		name, ok := argument.(*parse.StringNode)
		if !ok {
			return nil
		}
		names = append(names, name.Text)
	}
	return names
}

// write does the step.
func (s step) write(to *limited, of *scope) error {
	if s.names == nil {
		_, err := to.WriteString(s.text)
		return err
	}
	value, err := get(of, s.names...)
	for i := 0; err == nil && i < len(s.calls); i++ {
		var text string
		text, err = s.calls[i](value)
		value = text
	}
	if err != nil {
		return err
	}
	text, err := textOf(value)
	if err != nil {
		return err
	}
	_, err = to.WriteString(text)
	return err
}

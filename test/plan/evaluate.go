package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// evaluate finds what an expression refers to, and then its value. Scope has what is
// known only where it stands, such as each.
func (m *module) evaluate(expr hclsyntax.Expression, scope map[string]cty.Value) (cty.Value, error) {
	known := tree{}
	for _, t := range expr.Variables() {
		if value, ok := scope[t.RootName()]; ok {
			known[t.RootName()] = value
			continue
		}
		path, err := m.refers(t)
		if err != nil {
			return cty.NilVal, err
		}
		value, err := m.find(path)
		if err != nil {
			return cty.NilVal, err
		}
		known.put(path, value)
	}
	context := &hcl.EvalContext{Variables: known.values(), Functions: m.functions()}
	value, problems := expr.Value(context)
	if problems.HasErrors() {
		return cty.NilVal, problems
	}
	if !value.IsWhollyKnown() {
		return cty.NilVal, fmt.Errorf("%s: its value is not known", expr.Range())
	}
	return value, nil
}

// refers is the path of what is to be found, such as [local NAME].
func (m *module) refers(t hcl.Traversal) ([]string, error) {
	length := 2
	if t.RootName() == "data" {
		length = 3
	}
	path := []string{t.RootName()}
	for _, step := range t[1:min(len(t), length)] {
		attribute, ok := step.(hcl.TraverseAttr)
		if !ok {
			break
		}
		path = append(path, attribute.Name)
	}
	if len(path) != length {
		return nil, fmt.Errorf("%s: refers to a whole kind of things, which this cannot tell", t.SourceRange())
	}
	return path, nil
}

// find finds what a path leads to, once.
func (m *module) find(path []string) (cty.Value, error) {
	name := strings.Join(path, ".")
	if value, ok := m.found[name]; ok {
		return value, nil
	}
	if slices.Contains(m.asked, name) {
		return cty.NilVal, fmt.Errorf("%s: needs itself, by way of %s", name, strings.Join(m.asked, ", "))
	}
	m.asked = append(m.asked, name)
	value, err := m.seek(path)
	m.asked = m.asked[:len(m.asked)-1]
	if err == nil {
		m.found[name] = value
	}
	return value, err
}

func (m *module) seek(path []string) (cty.Value, error) {
	name := strings.Join(path, ".")
	switch path[0] {
	case "var":
		if value, ok := m.given[path[1]]; ok {
			return value, nil
		}
	case "local":
		if expr := m.locals[path[1]]; expr != nil {
			return m.evaluate(expr, nil)
		}
	case "path":
		if path[1] == "module" || path[1] == "root" {
			return cty.StringVal(filepath.ToSlash(m.dir)), nil
		}
	case "module":
		return m.outputsOf(path[1])
	default:
		if m.resources[name] != nil {
			return m.whole(name)
		}
	}
	return cty.NilVal, fmt.Errorf("%s: there is no such thing", name)
}

// whole is a resource as others see it: one object, or all of them by their keys.
func (m *module) whole(key string) (cty.Value, error) {
	list, err := m.instances(key)
	if err != nil {
		return cty.NilVal, err
	}
	attributes := m.resources[key].Body.Attributes
	switch {
	case attributes["for_each"] != nil:
		values := map[string]cty.Value{}
		for _, i := range list {
			values[i.key.AsString()] = i.values
		}
		return cty.ObjectVal(values), nil
	case attributes["count"] != nil:
		var values []cty.Value
		for _, i := range list {
			values = append(values, i.values)
		}
		return cty.TupleVal(values), nil
	}
	return list[0].values, nil
}

// outputsOf has the outputs of a module that this one calls.
func (m *module) outputsOf(name string) (cty.Value, error) {
	if m.calls[name] == nil {
		return cty.NilVal, fmt.Errorf("module.%s: there is no such thing", name)
	}
	child, given, err := m.call(name)
	if err != nil {
		return cty.NilVal, err
	}
	if refused, err := child.take(given); err != nil || len(refused) > 0 {
		return cty.NilVal, fmt.Errorf("module %s: %q (%w)", name, refused, err)
	}
	values := map[string]cty.Value{}
	for output, expr := range child.outputs {
		if values[output], err = child.evaluate(expr, nil); err != nil {
			return cty.NilVal, err
		}
	}
	return cty.ObjectVal(values), nil
}

// tree has values by their paths, to be made objects of objects.
type tree map[string]any

func (t tree) put(path []string, value cty.Value) {
	if len(path) == 1 {
		t[path[0]] = value
		return
	}
	below, ok := t[path[0]].(tree)
	if !ok {
		below = tree{}
		t[path[0]] = below
	}
	below.put(path[1:], value)
}

func (t tree) values() map[string]cty.Value {
	values := map[string]cty.Value{}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		switch value := t[name].(type) {
		case cty.Value:
			values[name] = value
		case tree:
			values[name] = cty.ObjectVal(value.values())
		}
	}
	return values
}

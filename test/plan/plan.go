package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	ctyjson "github.com/zclconf/go-cty/cty/json"
)

// Plan is what a configuration makes.
type Plan struct {
	// Refused has what the conditions of variables and resources say of the variables'
	// values; nothing is planned then.
	Refused []string `json:"refused,omitempty"`
	// Resources are in the order of their addresses.
	Resources []Resource                 `json:"resources"`
	Outputs   map[string]json.RawMessage `json:"outputs"`
	// Imports has the ids of import blocks, by the addresses that they go to.
	Imports map[string]string `json:"imports,omitempty"`
}

// Resource is one instance of a resource.
type Resource struct {
	Address string `json:"address"`
	// Type is data.TYPE of what is only read.
	Type string `json:"type"`
	// Values are its arguments, without those that are null; blocks are lists. An
	// archive_file has also the names of its files.
	Values json.RawMessage `json:"values"`
}

// Make plans the configuration in a folder with some values for its variables.
func Make(dir string, variables map[string]any) (*Plan, error) {
	m, err := load(dir)
	if err != nil {
		return nil, err
	}
	given := map[string]cty.Value{}
	for name, value := range variables {
		if given[name], err = fromJSON(value); err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
	}
	p := &Plan{Outputs: map[string]json.RawMessage{}, Imports: map[string]string{}}
	if err := p.add(m, "", given); err != nil {
		return nil, err
	}
	slices.SortFunc(p.Resources, func(a, b Resource) int { return compare(a.Address, b.Address) })
	return p, nil
}

// add plans one module, of which all addresses begin with prefix.
func (p *Plan) add(m *module, prefix string, given map[string]cty.Value) error {
	refused, err := m.take(given)
	if err == nil && len(refused) == 0 {
		refused, err = m.preconditions()
	}
	if err != nil || len(refused) > 0 {
		p.Refused = append(p.Refused, refused...)
		return err
	}
	for _, key := range slices.Sorted(maps.Keys(m.resources)) {
		instances, err := m.instances(key)
		if err != nil {
			return err
		}
		for _, i := range instances {
			values, err := ctyjson.Marshal(i.set, i.set.Type())
			if err != nil {
				return fmt.Errorf("%s%s: %w", key, i.suffix, err)
			}
			p.Resources = append(p.Resources, Resource{prefix + key + i.suffix, typeOf(m.resources[key]), values})
		}
	}
	return errors.Join(p.addCalls(m, prefix), p.addOutputs(m, prefix), p.addImports(m))
}

func (p *Plan) addCalls(m *module, prefix string) error {
	for name, call := range m.calls {
		child, given, err := m.call(name)
		if err != nil {
			return err
		}
		if err := p.add(child, prefix+"module."+name+".", given); err != nil {
			return fmt.Errorf("%s: module %s: %w", call.Range(), name, err)
		}
	}
	return nil
}

// addOutputs has those of the configuration itself.
func (p *Plan) addOutputs(m *module, prefix string) error {
	if prefix != "" {
		return nil
	}
	for name, expr := range m.outputs {
		value, err := m.evaluate(expr, nil)
		if err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
		if p.Outputs[name], err = ctyjson.Marshal(value, value.Type()); err != nil {
			return fmt.Errorf("output %s: %w", name, err)
		}
	}
	return nil
}

func (p *Plan) addImports(m *module) error {
	for _, block := range m.imports {
		instances, err := m.expand(block.Body)
		if err != nil {
			return err
		}
		for _, i := range instances {
			id, err := m.evaluate(block.Body.Attributes["id"].Expr, i.scope)
			if err != nil {
				return err
			}
			to, err := m.address(block.Body.Attributes["to"].Expr, i.scope)
			if err != nil {
				return err
			}
			p.Imports[to] = id.AsString()
		}
	}
	return nil
}

// address is that of the resource that an expression names.
func (m *module) address(expr hclsyntax.Expression, scope map[string]cty.Value) (string, error) {
	switch e := expr.(type) {
	case *hclsyntax.ScopeTraversalExpr:
		return traversed("", e.Traversal), nil
	case *hclsyntax.RelativeTraversalExpr:
		of, err := m.address(e.Source, scope)
		return traversed(of, e.Traversal), err
	case *hclsyntax.IndexExpr:
		of, err := m.address(e.Collection, scope)
		if err != nil {
			return "", err
		}
		key, err := m.evaluate(e.Key, scope)
		if err != nil {
			return "", err
		}
		return of + suffix(key), nil
	}
	return "", fmt.Errorf("%s: is no address of a resource", expr.Range())
}

func traversed(address string, t hcl.Traversal) string {
	for _, step := range t {
		switch step := step.(type) {
		case hcl.TraverseRoot:
			address += step.Name
		case hcl.TraverseAttr:
			address += "." + step.Name
		case hcl.TraverseIndex:
			address += suffix(step.Key)
		}
	}
	return address
}

// suffix is an instance's key as addresses have it.
func suffix(key cty.Value) string {
	text, err := convert.Convert(key, cty.String)
	switch {
	case err != nil:
		return "[?]"
	case key.Type() == cty.Number:
		return "[" + text.AsString() + "]"
	}
	return fmt.Sprintf("[%q]", text.AsString())
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// fromJSON is a value of JSON as Terraform has it.
func fromJSON(value any) (cty.Value, error) {
	data, err := json.Marshal(value)
	if err != nil {
		return cty.NilVal, err
	}
	var v ctyjson.SimpleJSONValue
	err = v.UnmarshalJSON(data)
	return v.Value, err
}

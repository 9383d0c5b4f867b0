package main

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/hashicorp/hcl/v2/hclwrite"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
)

// module is the configuration in one folder. Values are found when they are asked
// for, and kept, for one may need another.
type module struct {
	dir       string
	variables map[string]*hclsyntax.Block
	locals    map[string]hclsyntax.Expression
	resources map[string]*hclsyntax.Block // by TYPE.NAME, or data.TYPE.NAME
	calls     map[string]*hclsyntax.Block // of other modules
	outputs   map[string]hclsyntax.Expression
	imports   []*hclsyntax.Block

	given map[string]cty.Value
	found map[string]cty.Value // by local.NAME and so on
	asked []string             // what is being looked for now
}

// load reads a folder's files.
func load(dir string) (*module, error) {
	m := &module{
		dir: dir, found: map[string]cty.Value{},
		variables: map[string]*hclsyntax.Block{}, locals: map[string]hclsyntax.Expression{}, resources: map[string]*hclsyntax.Block{},
		calls: map[string]*hclsyntax.Block{}, outputs: map[string]hclsyntax.Expression{},
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.tf"))
	if err != nil || len(names) == 0 {
		return nil, fmt.Errorf("%s: has no *.tf (%w)", dir, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name) //nolint:gosec // the folder is its caller's, who is a test
		if err != nil {
			return nil, err
		}
		if !bytes.Equal(hclwrite.Format(text), text) {
			return nil, fmt.Errorf("%s: is not as terraform fmt writes it", name)
		}
		file, problems := hclsyntax.ParseConfig(text, name, hcl.InitialPos)
		if problems.HasErrors() {
			return nil, problems
		}
		body, _ := file.Body.(*hclsyntax.Body)
		for _, block := range body.Blocks {
			if err := m.keep(block); err != nil {
				return nil, fmt.Errorf("%s: %w", block.Range(), err)
			}
		}
	}
	return m, nil
}

func (m *module) keep(block *hclsyntax.Block) error {
	switch block.Type {
	case "terraform", "provider":
	case "variable":
		m.variables[block.Labels[0]] = block
	case "locals":
		for name, attribute := range block.Body.Attributes {
			m.locals[name] = attribute.Expr
		}
	case "output":
		m.outputs[block.Labels[0]] = block.Body.Attributes["value"].Expr
	case "resource":
		m.resources[strings.Join(block.Labels, ".")] = block
	case "data":
		m.resources["data."+strings.Join(block.Labels, ".")] = block
	case "module":
		m.calls[block.Labels[0]] = block
	case "import":
		m.imports = append(m.imports, block)
	default:
		return fmt.Errorf("%s: is a block that this does not know", block.Type)
	}
	return nil
}

// take gives the variables their values, or says which of them they refuse.
func (m *module) take(given map[string]cty.Value) (refused []string, err error) {
	for name := range given {
		if m.variables[name] == nil {
			return nil, fmt.Errorf("variable %s: there is none of this name", name)
		}
	}
	m.given = map[string]cty.Value{}
	for _, name := range slices.Sorted(maps.Keys(m.variables)) {
		if m.given[name], err = m.variable(name, given); err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(m.variables)) {
		problems, err := m.validate(m.variables[name].Body.Blocks)
		if err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
		refused = append(refused, problems...)
	}
	return refused, nil
}

// validate has the messages of those conditions that do not hold.
func (m *module) validate(conditions hclsyntax.Blocks) (messages []string, err error) {
	for _, block := range conditions {
		holds, err := m.evaluate(block.Body.Attributes["condition"].Expr, nil)
		if err != nil {
			return nil, err
		}
		if holds.True() {
			continue
		}
		message, err := m.evaluate(block.Body.Attributes["error_message"].Expr, nil)
		if err != nil {
			return nil, err
		}
		messages = append(messages, message.AsString())
	}
	return messages, nil
}

// preconditions has the messages of the resources' own conditions that do not hold.
func (m *module) preconditions() (messages []string, err error) {
	for _, key := range slices.Sorted(maps.Keys(m.resources)) {
		for _, block := range m.resources[key].Body.Blocks {
			if block.Type != "lifecycle" {
				continue
			}
			problems, err := m.validate(block.Body.Blocks)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", key, err)
			}
			messages = append(messages, problems...)
		}
	}
	return messages, nil
}

// variable is the value of one, of its type and with its defaults.
func (m *module) variable(name string, given map[string]cty.Value) (cty.Value, error) {
	attributes := m.variables[name].Body.Attributes
	of, defaults, problems := typeexpr.TypeConstraintWithDefaults(attributes["type"].Expr)
	if problems.HasErrors() {
		return cty.NilVal, problems
	}
	value, ok := given[name]
	if !ok || value.IsNull() && attributes["nullable"] != nil {
		if attributes["default"] == nil {
			return cty.NilVal, errors.New("is missing")
		}
		if value, problems = attributes["default"].Expr.Value(nil); problems.HasErrors() {
			return cty.NilVal, problems
		}
	}
	if defaults != nil && !value.IsNull() {
		value = defaults.Apply(value)
	}
	return convert.Convert(value, of)
}

// call is a module that this one calls, and the variables that it is given.
func (m *module) call(name string) (child *module, given map[string]cty.Value, err error) {
	given = map[string]cty.Value{}
	var source string
	for argument, attribute := range m.calls[name].Body.Attributes {
		value, err := m.evaluate(attribute.Expr, nil)
		if err != nil {
			return nil, nil, err
		}
		if argument == "source" {
			source = value.AsString()
			continue
		}
		given[argument] = value
	}
	if !strings.HasPrefix(source, ".") {
		return nil, nil, fmt.Errorf("module %s: source %q: a folder of this tree is accepted", name, source)
	}
	child, err = load(filepath.Join(m.dir, source))
	return child, given, err
}

// instance is one of a block with for_each or count, or the one of a block without.
type instance struct {
	suffix string
	key    cty.Value            // null for the one
	scope  map[string]cty.Value // each or count
	set    cty.Value            // what the configuration says
	values cty.Value            // with what the provider computes
}

// expand are a block's instances, without their values.
func (m *module) expand(body *hclsyntax.Body) ([]instance, error) {
	switch {
	case body.Attributes["for_each"] != nil:
		all, err := m.evaluate(body.Attributes["for_each"].Expr, nil)
		if err != nil {
			return nil, err
		}
		var list []instance
		for it := all.ElementIterator(); it.Next(); {
			key, value := it.Element()
			if all.Type().IsSetType() {
				key = value
			}
			list = append(list, instance{suffix: suffix(key), key: key, scope: map[string]cty.Value{"each": cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})}})
		}
		return list, nil
	case body.Attributes["count"] != nil:
		n, err := m.evaluate(body.Attributes["count"].Expr, nil)
		if err != nil {
			return nil, err
		}
		var list []instance
		many, _ := n.AsBigFloat().Int64()
		for i := range many {
			key := cty.NumberIntVal(i)
			list = append(list, instance{suffix: suffix(key), key: key, scope: map[string]cty.Value{"count": cty.ObjectVal(map[string]cty.Value{"index": key})}})
		}
		return list, nil
	}
	return []instance{{key: cty.NullVal(cty.String)}}, nil
}

// instances are a resource's, with their values.
func (m *module) instances(key string) ([]instance, error) {
	block := m.resources[key]
	list, err := m.expand(block.Body)
	for i := range list {
		if err == nil {
			list[i].set, list[i].values, err = m.resource(block, list[i].scope)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return list, nil
}

// resource has what an instance's block sets, without and with what its provider
// computes.
func (m *module) resource(block *hclsyntax.Block, scope map[string]cty.Value) (set, values cty.Value, err error) {
	arguments, err := m.body(block.Body, scope, "depends_on", "provider", "for_each", "count")
	if err != nil {
		return cty.NilVal, cty.NilVal, err
	}
	if typeOf(block) == "data.archive_file" {
		files, err := archived(arguments)
		if err != nil {
			return cty.NilVal, cty.NilVal, err
		}
		arguments["files"] = cty.TupleVal(files)
	}
	values, err = m.compute(typeOf(block), arguments)
	return cty.ObjectVal(arguments), values, err
}

// typeOf is a resource's type, data.TYPE for one that is only read.
func typeOf(block *hclsyntax.Block) string {
	if block.Type == "data" {
		return "data." + block.Labels[0]
	}
	return block.Labels[0]
}

// body has a block's arguments, and lists of the blocks in it.
func (m *module) body(body *hclsyntax.Body, scope map[string]cty.Value, without ...string) (map[string]cty.Value, error) {
	values := map[string]cty.Value{}
	for name, attribute := range body.Attributes {
		if slices.Contains(without, name) {
			continue
		}
		value, err := m.evaluate(attribute.Expr, scope)
		if err != nil {
			return nil, err
		}
		if !value.IsNull() { // null is not set
			values[name] = value
		}
	}
	lists := map[string][]cty.Value{}
	for _, block := range body.Blocks {
		if block.Type == "lifecycle" {
			continue
		}
		name, bodies, err := m.blocks(block, scope)
		if err != nil {
			return nil, err
		}
		lists[name] = append(lists[name], bodies...)
	}
	for name, list := range lists {
		values[name] = cty.TupleVal(list)
	}
	return values, nil
}

// blocks are those that a block stands for: itself, or those of a dynamic one.
func (m *module) blocks(block *hclsyntax.Block, scope map[string]cty.Value) (name string, list []cty.Value, err error) {
	if block.Type != "dynamic" {
		values, err := m.body(block.Body, scope)
		return block.Type, []cty.Value{cty.ObjectVal(values)}, err
	}
	name = block.Labels[0]
	iterator := name
	if attribute := block.Body.Attributes["iterator"]; attribute != nil {
		iterator = hcl.ExprAsKeyword(attribute.Expr)
	}
	all, err := m.evaluate(block.Body.Attributes["for_each"].Expr, scope)
	if err != nil {
		return "", nil, err
	}
	for it := all.ElementIterator(); it.Next(); {
		key, value := it.Element()
		inner := maps.Clone(scope)
		if inner == nil {
			inner = map[string]cty.Value{}
		}
		inner[iterator] = cty.ObjectVal(map[string]cty.Value{"key": key, "value": value})
		values, err := m.body(block.Body.Blocks[0].Body, inner)
		if err != nil {
			return "", nil, err
		}
		list = append(list, cty.ObjectVal(values))
	}
	return name, list, nil
}

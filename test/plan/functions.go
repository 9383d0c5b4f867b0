package main

import (
	"encoding/base64"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/bmatcuk/doublestar/v4"
	"github.com/hashicorp/hcl/v2/ext/tryfunc"
	yaml "github.com/zclconf/go-cty-yaml"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// functions are those of Terraform's that the module uses. Files are seen from the
// folder that the command runs in, as Terraform sees them.
func (m *module) functions() map[string]function.Function {
	return map[string]function.Function{
		"can": tryfunc.CanFunc, "try": tryfunc.TryFunc,
		"coalesce": stdlib.CoalesceFunc, "compact": stdlib.CompactFunc, "concat": stdlib.ConcatFunc, "contains": stdlib.ContainsFunc,
		"flatten": stdlib.FlattenFunc, "floor": stdlib.FloorFunc, "format": stdlib.FormatFunc, "join": stdlib.JoinFunc, "jsonencode": stdlib.JSONEncodeFunc,
		"keys": stdlib.KeysFunc, "length": stdlib.LengthFunc, "lookup": stdlib.LookupFunc, "merge": stdlib.MergeFunc, "regex": stdlib.RegexFunc,
		"replace": stdlib.ReplaceFunc, "reverse": stdlib.ReverseListFunc, "slice": stdlib.SliceFunc, "sort": stdlib.SortFunc, "split": stdlib.SplitFunc,
		"trim": stdlib.TrimFunc, "trimprefix": stdlib.TrimPrefixFunc, "trimspace": stdlib.TrimSpaceFunc, "trimsuffix": stdlib.TrimSuffixFunc,
		"jsondecode": stdlib.JSONDecodeFunc, "values": stdlib.ValuesFunc,
		"toset":    stdlib.MakeToFunc(cty.Set(cty.DynamicPseudoType)),
		"tostring": stdlib.MakeToFunc(cty.String), "tonumber": stdlib.MakeToFunc(cty.Number),
		"yamldecode": yaml.YAMLDecodeFunc,

		"abspath":      text(filepath.Abs),
		"base64encode": text(func(s string) (string, error) { return base64.StdEncoding.EncodeToString([]byte(s)), nil }),
		"file":         text(readText),
		"filebase64": text(func(path string) (string, error) {
			data, err := os.ReadFile(path)
			return base64.StdEncoding.EncodeToString(data), err
		}),

		"endswith":    holds(strings.HasSuffix),
		"startswith":  holds(strings.HasPrefix),
		"strcontains": holds(strings.Contains),

		"alltrue": one(func(all cty.Value) (cty.Value, error) {
			for it := all.ElementIterator(); it.Next(); {
				if _, value := it.Element(); value.False() {
					return cty.False, nil
				}
			}
			return cty.True, nil
		}),
		"one": one(func(all cty.Value) (cty.Value, error) {
			switch list := all.AsValueSlice(); len(list) {
			case 0:
				return cty.NullVal(cty.DynamicPseudoType), nil
			case 1:
				return list[0], nil
			}
			return cty.NilVal, errors.New("there is more than one")
		}),
		"fileset": function.New(&function.Spec{
			Params: []function.Parameter{{Name: "dir", Type: cty.String}, {Name: "pattern", Type: cty.String}},
			Type:   function.StaticReturnType(cty.Set(cty.String)),
			Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
				names, err := doublestar.Glob(os.DirFS(args[0].AsString()), args[1].AsString(), doublestar.WithFilesOnly())
				if err != nil || len(names) == 0 {
					return cty.SetValEmpty(cty.String), err
				}
				var list []cty.Value
				for _, name := range names {
					list = append(list, cty.StringVal(name))
				}
				return cty.SetVal(list), nil
			},
		}),
	}
}

func readText(path string) (string, error) {
	data, err := os.ReadFile(path)
	return string(data), err
}

// text is a function from a string to another.
func text(do func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			result, err := do(args[0].AsString())
			return cty.StringVal(result), err
		},
	})
}

// holds is a function that says something of two strings.
func holds(what func(s, of string) bool) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "text", Type: cty.String}, {Name: "of", Type: cty.String}},
		Type:   function.StaticReturnType(cty.Bool),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			return cty.BoolVal(what(args[0].AsString(), args[1].AsString())), nil
		},
	})
}

// one is a function of a collection of any type.
func one(do func(all cty.Value) (cty.Value, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: "all", Type: cty.DynamicPseudoType}},
		Type: func(args []cty.Value) (cty.Type, error) {
			result, err := do(args[0])
			if err != nil {
				return cty.NilType, err
			}
			return result.Type(), nil
		},
		Impl: func(args []cty.Value, of cty.Type) (cty.Value, error) {
			result, err := do(args[0])
			if err != nil {
				return cty.NilVal, err
			}
			return convert.Convert(result, of)
		},
	})
}

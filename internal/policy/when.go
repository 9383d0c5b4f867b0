package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/overloads"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/common/types/ref"
	"cel.dev/cel-go/ext"
	"cel.dev/cel-go/interpreter"
	"github.com/go-json-experiment/json/jsontext"
	"go.yaml.in/yaml/v3"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

const (
	// costLimit bounds what one evaluation may cost, in CEL's units: enough to look
	// for a word in the longest job several times over, and a few tens of
	// milliseconds at most.
	costLimit = 1_000_000
	// maxWhen is the longest condition that is read, in bytes.
	maxWhen = 16 << 10
	// maxPattern bounds the program that a regular expression becomes, in instructions.
	maxPattern = 1000
	// stepsAUnit is how many instructions of such a program, each held against one
	// byte, are a unit of cost.
	stepsAUnit = 10
	// maxPlace is how much is shown of a condition, or of where it failed, in bytes.
	maxPlace = 120
)

// condition is a policy's when, compiled once. It is safe for concurrent use.
type condition struct {
	text    string // in one line, and cut
	program cel.Program
	ast     *ast.AST
}

// newCondition compiles the when that stands in that node of the file.
func newCondition(node *yaml.Node) (*condition, error) {
	if node.Kind == yaml.AliasNode {
		node = node.Alias
	}
	switch {
	case node.Kind != yaml.ScalarNode || node.ShortTag() != "!!str" || strings.TrimSpace(node.Value) == "":
		return nil, fmt.Errorf("when: line %d: a condition in CEL is expected, as a string; to have none, leave when out", node.Line)
	case len(node.Value) > maxWhen:
		return nil, fmt.Errorf("when: line %d: is %d bytes long; at most %d are accepted", node.Line, len(node.Value), maxWhen)
	}
	env, err := environment()
	if err != nil {
		return nil, fmt.Errorf("when: %w", err)
	}
	checked, issues := env.Compile(node.Value)
	if issues.Err() != nil {
		first := issues.Errors()[0]
		return nil, fmt.Errorf("when: line %d: %s; accepted is a condition in CEL over %s", lineOf(node, first.Location.Line()), first.Message, accepted())
	}
	if !checked.OutputType().IsExactType(cel.BoolType) {
		return nil, fmt.Errorf("when: line %d: the result is of type %s; a condition that is true or false is expected, so compare it with something", node.Line, cel.FormatCELType(checked.OutputType()))
	}
	if err := checkCalls(checked.NativeRep()); err != nil {
		return nil, fmt.Errorf("when: line %d: %w", node.Line, err)
	}
	if least, err := env.EstimateCost(checked, sizes{}); err != nil || least.Min > costLimit {
		return nil, fmt.Errorf("when: line %d: it takes at least %d units of work for any job; at most %d are accepted", node.Line, least.Min, costLimit)
	}
	patterns := make(costs)
	program, err := env.Program(checked, cel.CostTracking(patterns), cel.CostLimit(costLimit), cel.EvalOptions(cel.OptOptimize), cel.OptimizeRegex(patterns.matching()...))
	if err != nil {
		return nil, fmt.Errorf("when: line %d: %w", node.Line, err)
	}
	return &condition{cut(strings.Join(strings.Fields(node.Value), " ")), program, checked.NativeRep()}, nil
}

// unbounded are functions whose work or result may be as much as the square of a job,
// and whose cost is known only when that has been done.
var unbounded = []string{"format", "join", "replace", "indexOf", "lastIndexOf"}

// checkCalls refuses calls whose cost is not known beforehand.
func checkCalls(checked *ast.AST) error {
	root := ast.NavigateAST(checked)
	for _, name := range unbounded {
		if calls := ast.MatchDescendants(root, ast.FunctionMatcher(name)); len(calls) > 0 {
			return fmt.Errorf("%s is not accepted; compare with contains or matches", name)
		}
	}
	for _, call := range ast.MatchDescendants(root, ast.FunctionMatcher(overloads.Matches)) {
		if args := call.AsCall().Args(); args[len(args)-1].Kind() != ast.LiteralKind {
			return errors.New("matches is accepted with a pattern that stands in the condition itself, as in job.user.matches(\"^bot-\"); a job may bring one that is made to be slow")
		}
	}
	return nil
}

// environment is what a condition can name: the variable job, CEL's standard
// functions, and those on strings.
func environment() (*cel.Env, error) {
	registry, err := types.NewRegistry()
	if err != nil {
		return nil, err
	}
	return cel.NewEnv(
		cel.CustomTypeProvider(jobType{registry}),
		cel.Variable("job", cel.ObjectType(jobTypeName)),
		ext.Strings(),
		cel.RegexProgramSizeLimit(maxPattern),
		cel.EnableMacroCallTracking(), // so that a place in it can be shown as it was written
	)
}

// lineOf is the file's line of a line of the condition. Only a literal block
// keeps its lines; it begins below its sign.
func lineOf(node *yaml.Node, line int) int {
	if node.Style&yaml.LiteralStyle != 0 {
		return node.Line + line
	}
	return node.Line
}

// sizes has no better guess of anything's size than the library.
type sizes struct{}

func (sizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }
func (sizes) EstimateCallCost(string, string, *cost.AstNode, []cost.AstNode) *cost.CallEstimate {
	return nil
}

// costs counts what the library does not: of lists and maps that are compared,
// what lies in them; of patterns, as what program they are run; and how long the
// strings are, where the types of what a function is given are known only when it
// is called. It has the size of each pattern of the condition, in instructions.
type costs map[string]int

// matching has patterns compiled once, and none run that would take too long: what a
// call has cost is counted when it is done.
func (c costs) matching() (all []*interpreter.RegexOptimization) {
	compile := func(call interpreter.InterpretableCall, pattern string) (interpreter.InterpretableCall, error) {
		size, err := types.RegexProgramSize(pattern)
		if err != nil {
			return nil, err
		}
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			return nil, err
		}
		c[pattern] = size
		return interpreter.NewCall(call.ID(), call.Function(), call.OverloadID(), call.Args(), func(values ...ref.Val) ref.Val {
			text, ok := values[0].Value().(string)
			switch {
			case !ok:
				return types.NoSuchOverloadErr()
			case steps(text, size) > costLimit:
				return types.WrapErr(errTooMuch)
			}
			return types.Bool(compiled.MatchString(text))
		}), nil
	}
	for _, overload := range []string{overloads.Matches, overloads.MatchesString} {
		all = append(all, &interpreter.RegexOptimization{Function: overloads.Matches, OverloadID: overload, RegexIndex: 1, Factory: compile})
	}
	return all
}

// steps is what a program of that size may cost with a text.
func steps(text string, size int) uint64 {
	return 1 + uint64(len(text))*uint64(size)/stepsAUnit //nolint:gosec // no length is negative
}

func (c costs) CallCost(function, overload string, args []ref.Val, _ ref.Val) *uint64 {
	n := uint64(1)
	switch {
	case function == overloads.Matches:
		text, _ := args[0].Value().(string)
		pattern, _ := args[1].Value().(string)
		n = steps(text, c[pattern])
	case function == operators.Equals || function == operators.NotEquals:
		n = min(weight(args[0].Value()), weight(args[1].Value()))
	case function == operators.In:
		n = weight(args[1].Value())
	case overload != "":
		return nil
	default:
		for _, arg := range args {
			n += length(arg.Value())
		}
	}
	return &n
}

// weight is how many values there are in a value, and the length of its strings.
func weight(value any) uint64 {
	n := 1 + length(value)
	switch value := value.(type) {
	case []any:
		for _, inner := range value {
			n += weight(inner)
		}
	case map[string]any:
		for key, inner := range value {
			n += weight(key) + weight(inner)
		}
	case []ref.Val: // what the condition itself has made
		for _, inner := range value {
			n += weight(inner.Value())
		}
	case map[ref.Val]ref.Val:
		for key, inner := range value {
			n += weight(key.Value()) + weight(inner.Value())
		}
	}
	return n
}

// length is that of a string, in the library's units.
func length(value any) uint64 {
	switch value := value.(type) {
	case string:
		return uint64(len(value)) / 10
	case []byte:
		return uint64(len(value)) / 10
	}
	return 0
}

// holds tells whether the condition is true of the job. An error says where it
// could not be evaluated, in words of the condition itself: those of the library
// may quote the job.
func (c *condition) holds(job jobs.Job) (bool, error) {
	out, _, err := c.program.Eval(map[string]any{"job": &view{Job: job}})
	if err != nil {
		return false, c.explain(err)
	}
	return out == types.True, nil
}

var errTooMuch = errors.New("it takes too much work for this job")

func (c *condition) explain(err error) error {
	var cancelled interpreter.EvalCancelledError
	if errors.As(err, &cancelled) || errors.Is(err, errTooMuch) {
		return errTooMuch
	}
	var failed *types.Err
	if errors.As(err, &failed) {
		if place := c.place(failed.NodeID()); place != "" {
			return fmt.Errorf("at %s the job has nothing, or not what the condition needs", place)
		}
	}
	return errors.New("the job does not have what the condition needs")
}

// place is a part of the condition as it was written; empty where there is none
// of that id.
func (c *condition) place(id int64) string {
	var text string
	ast.PreOrderVisit(c.ast.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.ID() == id && text == "" {
			text, _ = cel.ExprToString(e, c.ast.SourceInfo()) // what cannot be written is not shown
		}
	}))
	return cut(text)
}

// cut keeps a part of a condition short enough for a message.
func cut(text string) string {
	if len(text) > maxPlace {
		text = strings.ToValidUTF8(text[:maxPlace], "") + "…"
	}
	return text
}

const jobTypeName = "Job"

// jobField is a field of job in a condition.
type jobField struct {
	name string
	is   *cel.Type
	get  func(*view) any
	set  func(*view) bool
}

// jobFields are those of a job by their names in JSON, and the user's domain.
// Letters and media are not among them: a condition need not read what the
// policy's author may not.
var jobFields = []jobField{
	{"id", cel.StringType, func(v *view) any { return v.ID }, func(v *view) bool { return v.ID != "" }},
	{"user", cel.StringType, func(v *view) any { return v.User }, func(v *view) bool { return v.User != "" }},
	{"domain", cel.StringType, func(v *view) any { return v.Domain() }, func(v *view) bool { return v.User != "" }},
	{"as", cel.StringType, func(v *view) any { return v.As }, func(v *view) bool { return v.As != "" }},
	{"action", cel.StringType, func(v *view) any { return v.Action }, func(v *view) bool { return v.Action != "" }},
	{"params", cel.MapType(cel.StringType, cel.DynType), func(v *view) any { return decoded(&v.params, v.Params) }, func(v *view) bool { return v.Params != nil }},
	{"body", cel.MapType(cel.StringType, cel.DynType), func(v *view) any { return decoded(&v.body, v.Body) }, func(v *view) bool { return v.Body != nil }},
	{"output", cel.StringType, func(v *view) any { return v.Output }, func(v *view) bool { return v.Output != "" }},
	{"dryRun", cel.BoolType, func(v *view) any { return v.DryRun }, func(v *view) bool { return v.DryRun }},
	{"labels", cel.MapType(cel.StringType, cel.StringType), func(v *view) any { return v.Labels }, func(v *view) bool { return v.Labels != nil }},
}

// accepted names what a condition can be about.
func accepted() string {
	names := make([]string, 0, len(jobFields))
	for _, f := range jobFields {
		names = append(names, "job."+f.name)
	}
	return strings.Join(names, ", ")
}

// jobType has the library know the type of job.
type jobType struct{ *types.Registry }

// FindStructType implements [types.Provider].
func (t jobType) FindStructType(name string) (*types.Type, bool) {
	if name == jobTypeName {
		return types.NewTypeTypeWithParam(types.NewObjectType(name)), true
	}
	return t.Registry.FindStructType(name)
}

// FindStructFieldType implements [types.Provider].
func (t jobType) FindStructFieldType(name, field string) (*types.FieldType, bool) {
	if name != jobTypeName {
		return t.Registry.FindStructFieldType(name, field)
	}
	i := slices.IndexFunc(jobFields, func(f jobField) bool { return f.name == field })
	if i < 0 {
		return nil, false
	}
	f := jobFields[i]
	return &types.FieldType{
		Type:  f.is,
		IsSet: func(target any) bool { v, ok := target.(*view); return ok && f.set(v) },
		GetFrom: func(target any) (any, error) {
			if v, ok := target.(*view); ok {
				return f.get(v), nil
			}
			return nil, errors.New("not a job")
		},
	}, true
}

// view is a job as one evaluation sees it.
type view struct {
	jobs.Job
	params, body map[string]any // once they were needed
}

// decoded reads an object of the job when a condition first asks for it.
func decoded(into *map[string]any, text jsontext.Value) map[string]any {
	if *into != nil {
		return *into
	}
	*into = map[string]any{}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var object map[string]any
	if d.Decode(&object) == nil { // jobs.Decode has seen to it; what is left out is missing, and so refused
		*into, _ = numbers(object).(map[string]any)
	}
	return *into
}

// numbers makes CEL's numbers of those in a JSON value: integers where they are
// some, for beyond 2^53 a double would take two of them for one.
func numbers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		for key, inner := range value {
			value[key] = numbers(inner)
		}
	case []any:
		for i, inner := range value {
			value[i] = numbers(inner)
		}
	case json.Number:
		if i, err := value.Int64(); err == nil {
			return i
		}
		if u, err := strconv.ParseUint(value.String(), 10, 64); err == nil {
			return u
		}
		f, _ := value.Float64() // one that is too large is infinite
		return f
	}
	return value
}

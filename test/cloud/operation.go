package cloud

import (
	"errors"
	"fmt"
	"time"
)

// operation is something that an API goes on with after its answer.
type operation struct {
	fields object
	polls  int
	finish func(ordered error) (response any, err error)
	fault  error // that was ordered for it
}

// polls is how often an operation is asked after until it is done: a script that does not
// wait, or asks once, is seen.
const polls = 2

// start begins an operation. What finish does is not done before the operation is; it is
// told of a fault that was ordered, with which the operation is to fail.
func (s *Server) start(c *call, name string, metadata object, finish func(ordered error) (any, error)) object {
	fields := object{"name": name, "done": false}
	if metadata != nil {
		fields["metadata"] = metadata
	}
	s.operations[c.api.host+"/"+name] = &operation{fields: fields, finish: finish, fault: c.fault}
	return clone(fields)
}

// finish is an operation that is done when its call answers.
func finish(c *call, name string, metadata object, do func() any) any {
	fields := object{"name": name, "done": true, "metadata": metadata}
	if c.fault != nil {
		fields["error"] = status(c.fault)
		return fields
	}
	fields["response"] = do()
	return fields
}

// done is such an operation without anything to do.
func done(name string, response object) object {
	return object{"name": name, "done": true, "response": response}
}

// number is one that nothing else has.
func (s *Server) number() int {
	s.serial++
	return s.serial
}

// poll answers the get of an operation.
func (s *Server) poll(c *call, name string) (any, error) {
	op, ok := s.operations[c.api.host+"/"+name]
	if !ok {
		return nil, notFound(c.key("%s", name))
	}
	op.polls++
	if op.polls >= polls && op.finish != nil {
		response, err := op.finish(op.fault)
		op.finish = nil
		op.fields["done"] = true
		op.end()
		if err != nil {
			op.fields["error"] = status(err)
		} else {
			op.fields["response"] = response
		}
	}
	return clone(op.fields), nil
}

// end says in the metadata that all is over.
func (op *operation) end() {
	metadata, ok := op.fields["metadata"].(object)
	if !ok {
		return
	}
	metadata["endTime"] = now()
	stages, _ := metadata["stages"].([]any)
	for _, stage := range stages {
		put(stage.(object), "COMPLETE", "state") //nolint:errcheck // stages are objects of ours
	}
}

// status is an error as google.rpc.Status, which operations have.
func status(err error) object {
	var refused *apiError
	if !errors.As(err, &refused) {
		return object{"code": rpcCodes["INTERNAL"], "message": err.Error()}
	}
	return object{"code": rpcCodes[refused.status], "message": refused.message}
}

func now() string { return time.Now().UTC().Format(time.RFC3339Nano) }

// typed adds the type that an Any has.
func typed(o object, name string) object {
	o = clone(o)
	o["@type"] = "type.googleapis.com/" + name
	return o
}

// operationPath is the name of a new operation at a place.
func (s *Server) operationPath(project, location string) string {
	return fmt.Sprintf("projects/%s/locations/%s/operations/operation-%012d", project, location, s.number())
}

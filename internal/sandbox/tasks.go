package sandbox

import (
	"net/http"
	"slices"
)

// taskMethods are each user's lists. Facts: the Discovery document.
func taskMethods() []method {
	self := func(d doc) { d["selfLink"] = "https://www.googleapis.com/tasks/v1/" + d.text("id") }
	lists := &kind{
		name: "tasks", id: "id", items: "items",
		alias: func(c *call, id string) string {
			if id == "@default" {
				return defaultList(c)
			}
			return id
		},
		seed: func(c *call, _ address) []doc { return []doc{{"id": defaultList(c), "title": "My Tasks"}} },
		fill: func(c *call, d doc) {
			d["kind"], d["updated"] = "tasks#taskList", stamp(c.now())
			d.fillIn("title", "")
			self(d)
			d["etag"] = etagOf(d)
		},
		frame: func(*call) doc { return doc{"kind": "tasks#taskLists", "etag": `"0"`} },
		free: func(c *call, d doc) *reply {
			if d["id"] == defaultList(c) {
				a := c.refuse(http.StatusBadRequest, "invalid", "Invalid Value")
				return &a
			}
			return nil
		},
	}
	tasks := &kind{
		name: "tasks.tasks", id: "id", items: "items", below: lists,
		check: func(c *call, d doc) *reply {
			if s := d.text("status"); s != "" && s != "needsAction" && s != "completed" {
				a := c.refuse(http.StatusBadRequest, "invalid", "Invalid Value")
				return &a
			}
			return nil
		},
		fill: func(c *call, d doc) {
			d["kind"], d["updated"] = "tasks#task", stamp(c.now())
			d.fillIn("title", "")
			d.fillIn("status", "needsAction")
			if d["status"] == "completed" {
				d.fillIn("completed", stamp(c.now()))
			} else {
				delete(d, "completed")
			}
			self(d)
			d["etag"] = etagOf(d)
		},
		frame: func(*call) doc { return doc{"kind": "tasks#tasks", "etag": `"0"`} },
		shows: func(c *call, d doc) bool {
			return c.query.Get("showCompleted") != "false" || d["status"] != "completed"
		},
		page:   struct{ normal, most int }{20, 100},
		unable: []string{"completedMax", "completedMin", "dueMax", "dueMin", "updatedMin"},
	}
	return slices.Concat(
		lists.methods("tasks.tasklists", "insert", "list", "get", "patch", "update", "delete"),
		tasks.methods("tasks.tasks", "insert", "list", "get", "patch", "update", "delete"),
	)
}

// defaultList is made of the user's address: the same on every start.
func defaultList(c *call) string { return "MTQ" + numericID(c.tok.principal()) }

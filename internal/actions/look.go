package actions

import (
	"context"
	"net/http"
	"time"
)

func (c *Call) Kept() bool { return c.Class == Once || c.method.HTTPMethod == "DELETE" }

type Look struct {
	Scopes []string
	Units  int
	Wait   time.Duration
}

type Sight int

const (
	Unclear Sight = iota
	Absent
	Present
)

func (c *Call) Look() *Look { return nil }

func (l *Look) Do(context.Context, func(*http.Request)) (Answer, Sight, error) {
	return Answer{}, Unclear, nil
}
func (c *Call) DoneBefore(*Error, bool) bool { return false }
func (c *Call) NeedsID() bool                { return false }
func (c *Call) NewID(context.Context, func(*http.Request)) (string, error) {
	return "", nil
}
func (c *Call) UseID(string) error { return nil }

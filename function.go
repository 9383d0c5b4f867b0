// Package onbehalf is what gcloud functions deploy builds. It stands at the
// root, alone and without tests, because the functions buildpack compiles the
// root package and no other; the entry points themselves are in functions.
package onbehalf

import (
	// The buildpack writes a main that starts the framework only where the
	// root package itself imports it.
	framework "github.com/GoogleCloudPlatform/functions-framework-go/functions"

	"github.com/onbehalf-dev/onbehalf/functions"
)

// init is the only one in the tree. The commands, which do not import this
// package, stay free of it.
func init() {
	for name, serve := range functions.EntryPoints() {
		framework.HTTP(name, serve)
	}
}

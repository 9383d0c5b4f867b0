package sandbox

import (
	_ "embed"
	"slices"
	"strings"
)

const authPrefix = "https://www.googleapis.com/auth/"

// Scopes that the sandbox itself speaks of, from the Discovery documents.
const (
	scopeCloudPlatform      = authPrefix + "cloud-platform"
	scopeIAM                = authPrefix + "iam"
	scopeEmail              = authPrefix + "userinfo.email"
	scopeOpenID             = "openid"
	scopeMail               = "https://mail.google.com/"
	scopeGmailCompose       = authPrefix + "gmail.compose"
	scopeGmailInsert        = authPrefix + "gmail.insert"
	scopeGmailLabels        = authPrefix + "gmail.labels"
	scopeGmailMetadata      = authPrefix + "gmail.metadata"
	scopeGmailModify        = authPrefix + "gmail.modify"
	scopeGmailReadonly      = authPrefix + "gmail.readonly"
	scopeGmailSend          = authPrefix + "gmail.send"
	scopeGmailSettingsBasic = authPrefix + "gmail.settings.basic"
	scopeDirectory          = authPrefix + "admin.directory.user"
	scopeDirectoryReadonly  = authPrefix + "admin.directory.user.readonly"
)

// scopeTable has every scope of every Discovery document of
// google.golang.org/api v0.304.0, one a line, and those of OpenID Connect.
// A well-formed scope that is not in it is "unknown" in the sense of row T14.
//
//go:embed scopes.txt
var scopeTable string

// knownScopes is the table as a set.
func knownScopes() map[string]bool {
	known := map[string]bool{}
	for s := range strings.Lines(scopeTable) {
		known[strings.TrimSpace(s)] = true
	}
	return known
}

// anyOf tells whether one of the granted scopes is one of the accepted.
func anyOf(granted, accepted []string) bool {
	for _, s := range granted {
		if slices.Contains(accepted, s) {
			return true
		}
	}
	return false
}

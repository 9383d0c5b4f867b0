package actions

// Matching makes a short text that matches a pattern of Google's.
func Matching(pattern string) string { return matching(pattern) }

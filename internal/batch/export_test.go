package batch

// WithLibrary makes jobs by text/template alone.
func (t *Template) WithLibrary() *Template {
	other := *t
	other.parts = nil
	for _, p := range t.parts {
		if p.hole != nil {
			p.hole = &hole{path: p.hole.path, template: p.hole.template}
		}
		other.parts = append(other.parts, p)
	}
	return &other
}

// WholeUser tells whether the table of the Directory's fields has that one, by its name in JSON.
func WholeUser(field string) (known, isList bool) {
	shape, known := userFields[upperFirst(field)]
	return known, shape == shapeList
}

// WholeName tells the same of a user's name.
func WholeName(field string) bool {
	_, known := nameFields[upperFirst(field)]
	return known
}

// Fields is how many fields of a user, and of the name, are known.
func Fields() (user, name int) { return len(userFields), len(nameFields) }

func upperFirst(s string) string { return string(s[0]-'a'+'A') + s[1:] }

package sandbox

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode/utf16"
)

// documentMethods are those of Docs, Slides and Forms. Facts: their Discovery
// documents; for Docs also
// https://developers.google.com/workspace/docs/api/concepts/structure.
func documentMethods() []method {
	documents := &kind{name: "docs", id: "documentId", check: titleOnly, makeID: fileID, fill: func(c *call, d doc) {
		d.fillIn("title", "Untitled document")
		d.fillIn("revisionId", "A"+c.newID())
		d.fillIn("suggestionsViewMode", "SUGGESTIONS_INLINE")
		d["body"] = bodyOf("\n")
	}}
	slides := &kind{name: "slides", id: "presentationId", check: titleOnly, makeID: fileID, fill: func(c *call, d doc) {
		d.fillIn("title", "Untitled presentation")
		d.fillIn("locale", "en")
		d.fillIn("revisionId", c.newID())
		points := func(n int) map[string]any { return map[string]any{"magnitude": n, "unit": "EMU"} }
		d.fillIn("pageSize", map[string]any{"width": points(9144000), "height": points(5143500)})
	}}
	forms := &kind{
		name: "forms", id: "formId", makeID: fileID,
		check: func(c *call, d doc) *reply {
			if d.under("info").text("title") == "" {
				return c.badSetting("Form title is required.")
			}
			for name := range d {
				if name != "info" { // the rest is for batchUpdate, by the method's description
					return c.badSetting("Only info.title can be set when creating a form.")
				}
			}
			return nil
		},
		fill: func(c *call, d doc) {
			info := d.under("info")
			info.fillIn("documentTitle", info["title"])
			d.fillIn("revisionId", c.newID())
			d.fillIn("responderUri", "https://docs.google.com/forms/d/e/"+d.text("formId")+"/viewform")
		},
	}
	return slices.Concat(
		documents.methods("docs.documents", "create", "get"),
		[]method{{id: "docs.documents.batchUpdate", do: func(c *call) reply { return updateDocument(documents, c) }}},
		slides.methods("slides.presentations", "create", "get"),
		forms.methods("forms.forms", "create", "get"),
	)
}

// titleOnly leaves out what a new document ignores, by the methods' descriptions:
// all but the title.
func titleOnly(_ *call, d doc) *reply {
	maps.DeleteFunc(d, func(name string, _ any) bool { return name != "title" })
	return nil
}

// bodyOf is a document of one paragraph for each line. Places count from 1, in
// units of UTF-16.
func bodyOf(text string) map[string]any {
	content := []any{map[string]any{"endIndex": 1, "sectionBreak": map[string]any{}}}
	at := 1
	for line := range strings.Lines(text) {
		end := at + len(utf16.Encode([]rune(line)))
		content = append(content, map[string]any{
			"startIndex": at, "endIndex": end,
			"paragraph": map[string]any{"elements": []any{map[string]any{
				"startIndex": at, "endIndex": end, "textRun": map[string]any{"content": line},
			}}},
		})
		at = end
	}
	return map[string]any{"content": content}
}

// textOf is what bodyOf was made of.
func textOf(d doc) string {
	body, _ := d["body"].(map[string]any)
	content, _ := body["content"].([]any)
	var b strings.Builder
	for _, element := range content {
		e, _ := element.(map[string]any)
		paragraph, _ := e["paragraph"].(map[string]any)
		elements, _ := paragraph["elements"].([]any)
		for _, one := range elements {
			o, _ := one.(map[string]any)
			run, _ := o["textRun"].(map[string]any)
			b.WriteString(doc(run).text("content"))
		}
	}
	return b.String()
}

// documentUpdate is as much of BatchUpdateDocumentRequest as works.
type documentUpdate struct {
	Requests []map[string]json.RawMessage `json:"requests"`
}

type insertText struct {
	Text     string `json:"text"`
	Location *struct {
		Index     int    `json:"index"`
		SegmentID string `json:"segmentId"`
		TabID     string `json:"tabId"`
	} `json:"location"`
}

// updateDocument inserts text, all of it or none. The rest is refused loudly.
func updateDocument(documents *kind, c *call) reply {
	var in documentUpdate
	if err := json.Unmarshal(orEmpty(c.body), &in); err != nil {
		return badJSON(err, "")
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	_, id, d, refused := documents.found(c)
	if refused != nil {
		return *refused
	}
	units := utf16.Encode([]rune(textOf(d)))
	replies := []doc{}
	for n, r := range in.Requests {
		if units, refused = inserted(c, units, n, r); refused != nil {
			return *refused
		}
		replies = append(replies, doc{})
	}
	d["body"], d["revisionId"] = bodyOf(string(utf16.Decode(units))), "A"+c.newID()
	return c.ok(doc{"documentId": id, "replies": replies, "writeControl": doc{"requiredRevisionId": d["revisionId"]}})
}

// inserted is the text with what the request of a number inserts.
func inserted(c *call, units []uint16, n int, r map[string]json.RawMessage) ([]uint16, *reply) {
	refuse := func(a reply) ([]uint16, *reply) { return nil, &a }
	for what := range r {
		if what != "insertText" {
			return refuse(c.notImplemented(what))
		}
	}
	var i insertText
	if err := json.Unmarshal(r["insertText"], &i); err != nil {
		return refuse(badJSON(err, "requests.insert_text"))
	}
	at := len(units) // before the last line break
	if i.Location != nil {
		if i.Location.SegmentID+i.Location.TabID != "" {
			return refuse(c.notImplemented("segments and tabs"))
		}
		at = i.Location.Index
	}
	if at < 1 || at > len(units) {
		return refuse(c.refuse(http.StatusBadRequest, "badRequest", fmt.Sprintf(
			"Invalid requests[%d].insertText: Index %d must be less than the end index of the referenced segment, %d.", n, at, len(units)+1)))
	}
	return slices.Insert(units, at-1, utf16.Encode([]rune(i.Text))...), nil
}

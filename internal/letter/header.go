package letter

import (
	"encoding/base64"
	"fmt"
	"net/mail"
	"strings"
	"unicode/utf8"
)

// The library writes header values as they are, or encodes them by what they
// hold: "=?utf-8?q?=41?=" would come back as A, a file's name as an encoded word
// where none may stand, and one long word would keep all that follows it on its
// line. So values are encoded and folded here.

// A line of a header has 76 characters at most, if it can be helped: with an
// encoded word in it must not have more (RFC 2047, 2). maxPlain is the longest
// word that is written as it is, and maxEncoded how many bytes one that is
// encoded stands for, so that it and any of our names fit on one line.
const (
	maxLine    = 76
	maxPlain   = 60
	maxEncoded = 39
)

// field is a header field; one without a value is left out.
type field struct{ name, value string }

// folded is the field as it stands in the letter. It breaks lines where a single
// blank is: what readers make of more than one differs.
func (f field) folded() ([]byte, error) {
	if strings.ContainsFunc(f.name+f.value, unprintable) { // jobs refuses it; here it would be a way in
		return nil, fmt.Errorf("letter: header field %q holds what none may", f.name)
	}
	out := []byte(f.name + ":")
	words, width := strings.Split(f.value, " "), len(out)
	for i, word := range words {
		if i > 0 && width+1+len(word) > maxLine && word != "" && words[i-1] != "" {
			out, width = append(out, "\r\n"...), 0
		}
		out = append(append(out, ' '), word...)
		width += 1 + len(word)
	}
	return append(out, "\r\n"...), nil
}

// text is a line of text that every reader gets back as it is.
func text(s string) string {
	if plain(s) && longestWord(s) <= maxPlain {
		return s
	}
	return encodedWords(s)
}

// headerText is the value of a field of which we know nothing else: what is
// ASCII may have a meaning to machines, and is left as it is.
func headerText(s string) string {
	if plain(s) {
		return s
	}
	return encodedWords(s)
}

// plain tells whether every reader takes a text for what it is: no reader
// decodes it, or changes its blanks.
func plain(s string) bool {
	return !strings.ContainsFunc(s, unprintable) &&
		!strings.Contains(s, "=?") && !strings.Contains(s, "  ") && strings.Trim(s, " ") == s
}

// unprintable tells of a character that is no printable one of ASCII's.
func unprintable(r rune) bool { return r < ' ' || r > '~' }

func longestWord(s string) (longest int) {
	for word := range strings.SplitSeq(s, " ") {
		longest = max(longest, len(word))
	}
	return longest
}

// encodedWords writes text as RFC 2047 has it.
func encodedWords(s string) string {
	words := cut(s, maxEncoded, func(r string) int { return len(r) })
	for i, word := range words {
		words[i] = "=?utf-8?B?" + base64.StdEncoding.EncodeToString([]byte(word)) + "?="
	}
	return strings.Join(words, " ")
}

// cut cuts text between characters into pieces whose characters' lengths add up
// to most. It likes best to cut after a blank, for some readers show one between
// two encoded words (https://github.com/python/cpython/issues/128110).
func cut(s string, most int, length func(char string) int) (pieces []string) {
	for len(s) > 0 {
		end := 0
		for sum := 0; end < len(s); {
			_, n := utf8.DecodeRuneInString(s[end:])
			if sum += length(s[end : end+n]); sum > most {
				break
			}
			end += n
		}
		if blank := strings.LastIndexByte(s[:end], ' '); blank >= 0 && end < len(s) {
			end = blank + 1
		}
		pieces = append(pieces, s[:end])
		s = s[end:]
	}
	return pieces
}

// mailboxes writes a list of them. An author's comments are not kept.
func mailboxes(list []string) (string, error) {
	written := make([]string, len(list))
	for i, s := range list {
		m, err := mail.ParseAddress(s)
		if err != nil {
			return "", err
		}
		address := &mail.Address{Address: m.Address}
		if plain(m.Name) && longestWord(m.Name) <= maxPlain {
			address.Name = m.Name // which it writes in quotes
			written[i] = address.String()
		} else {
			written[i] = encodedWords(m.Name) + " " + address.String()
		}
	}
	return strings.Join(written, ", "), nil
}

// messageIDs writes Message-IDs that are given with or without <>.
func messageIDs(ids ...string) string {
	var written []string
	for _, id := range ids {
		if id != "" {
			written = append(written, "<"+strings.Trim(id, "<>")+">")
		}
	}
	return strings.Join(written, " ")
}

// simple tells whether a value can stand between quotes.
func simple(s string) bool {
	return plain(s) && len(s) <= maxPlain && !strings.ContainsAny(s, `"\`)
}

// quoted is text between quotes, for readers who decode also there what RFC
// 2047 has no place for.
func quoted(s string) string {
	if simple(s) {
		return s
	}
	return encodedWords(s)
}

// parameter writes a parameter of a MIME field, as RFC 2231 has it where it must.
func parameter(name, value string) string {
	if simple(value) {
		return name + `="` + value + `"`
	}
	sections := cut(value, maxPlain, func(char string) int { return len(percent(char)) })
	if len(sections) == 1 {
		return name + "*=utf-8''" + percent(sections[0])
	}
	charset := "utf-8''"
	for i, section := range sections {
		sections[i] = fmt.Sprintf("%s*%d*=%s%s", name, i, charset, percent(section))
		charset = ""
	}
	return strings.Join(sections, "; ")
}

// percent writes all but letters, digits and the most harmless others as %XX.
func percent(s string) string {
	var out strings.Builder
	for _, b := range []byte(s) {
		if b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9' || strings.IndexByte("-._", b) >= 0 {
			out.WriteByte(b)
		} else {
			fmt.Fprintf(&out, "%%%02X", b)
		}
	}
	return out.String()
}

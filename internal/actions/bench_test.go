package actions_test

import (
	"testing"

	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// To check a job takes microseconds: the calls it may save take far longer.
func BenchmarkPrepare(b *testing.B) {
	for name, text := range map[string]string{
		"gmail.users.messages.insert": `"params":{"internalDateSource":"dateHeader"},"body":{"labelIds":["INBOX","UNREAD"]},"message":{"raw":"TWVzc2FnZS1JRDogPDFAeD4NCg0KSGVsbG8"}`,
		"calendar.events.insert":      `"params":{"calendarId":"primary","sendUpdates":"none"},"body":{"summary":"Lunch","start":{"dateTime":"2026-11-30T12:00:00+01:00"},"end":{"dateTime":"2026-11-30T13:00:00+01:00"},"attendees":[{"email":"grace@example.com"},{"email":"alan@example.com"}]}`,
	} {
		b.Run(name, func(b *testing.B) {
			a := newActions(b, &google{})
			job, err := jobs.Decode([]byte(`{"user":"ada@example.com","action":"`+name+`",`+text+`}`), "1")
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := a.Prepare(b.Context(), job); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

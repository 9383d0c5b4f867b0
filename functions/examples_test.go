package functions_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/onbehalf-dev/onbehalf/functions"
	"github.com/onbehalf-dev/onbehalf/internal/batch"
	"github.com/onbehalf-dev/onbehalf/internal/config"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
	"github.com/onbehalf-dev/onbehalf/internal/policy"
	"github.com/onbehalf-dev/onbehalf/internal/pubsubio"
)

// The batches that people are told to copy are accepted, and their jobs succeed.
func TestTheExamplesOfBatchesWork(t *testing.T) {
	files, err := filepath.Glob("../docs/batches/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatalf("%v, %v", files, err)
	}
	allowed, err := policy.Parse([]byte("domains: [example.com]\nactions: ['gmail.*']\n"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var r *rig
			done := 0
			r = setupIn(t, manyUsers(5), func(c *config.Config, o *functions.Options) {
				c.Admin, o.Policy = "admin@example.com", allowed
				o.Continue = func(context.Context, string) error { return nil }
				o.Publish = func(_ context.Context, messages []batch.Message) func(context.Context) error {
					return func(ctx context.Context) error {
						for _, m := range messages {
							done++
							if o := r.Execute(ctx, pubsubio.Message{ID: "m", Data: m.Data, Attributes: m.Attributes()}); o.Result.Status != jobs.Succeeded {
								t.Errorf("%+v", o.Result.Error)
							}
						}
						return nil
					}
				}
			})
			data = bytes.ReplaceAll(data, []byte("my-project-1"), []byte(r.world.Project))
			if o := r.FanOut(t.Context(), pubsubio.Message{ID: "b", Data: data, PublishTime: time.Now()}); o.Answer != functions.Done || done == 0 {
				t.Errorf("%d jobs were done\n%s", done, r.logs)
			}
		})
	}
}

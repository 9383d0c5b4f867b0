package functions

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"net/http"
	"os"
	"strings"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
)

// readSetting reads a setting's text from a path or from
// sm://PROJECT/SECRET/VERSION.
func readSetting(ctx context.Context, from string, own *http.Client) ([]byte, error) {
	rest, ok := strings.CutPrefix(from, "sm://")
	if !ok {
		return os.ReadFile(from)
	}
	parts := strings.Split(rest, "/") // config has checked that there are three
	client, err := secretmanager.NewRESTClient(ctx, option.WithHTTPClient(own), option.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return nil, err
	}
	defer client.Close()
	secret, err := client.AccessSecretVersion(ctx, &secretmanagerpb.AccessSecretVersionRequest{
		Name: fmt.Sprintf("projects/%s/secrets/%s/versions/%s", parts[0], parts[1], parts[2]),
	})
	if err != nil {
		return nil, err
	}
	payload := secret.GetPayload()
	if payload == nil || payload.DataCrc32C == nil || int64(crc32.Checksum(payload.GetData(), crc32.MakeTable(crc32.Castagnoli))) != payload.GetDataCrc32C() {
		return nil, errors.New("the secret does not match its checksum; it was damaged on the way")
	}
	return payload.GetData(), nil
}

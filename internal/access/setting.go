package access

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"log/slog"
	"os"
	"strings"

	secretmanager "cloud.google.com/go/secretmanager/apiv1"
	"cloud.google.com/go/secretmanager/apiv1/secretmanagerpb"
	"google.golang.org/api/option"
)

// ReadSetting reads a setting's text from a path or from
// sm://PROJECT/SECRET/VERSION, whose checksum it verifies.
func (a *Access) ReadSetting(ctx context.Context, from string) ([]byte, error) {
	rest, ok := strings.CutPrefix(from, "sm://")
	if !ok {
		return os.ReadFile(from)
	}
	parts := strings.Split(rest, "/") // config has checked that there are three
	client, err := secretmanager.NewRESTClient(ctx, option.WithHTTPClient(a.OwnHTTP), option.WithLogger(slog.New(slog.DiscardHandler)))
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

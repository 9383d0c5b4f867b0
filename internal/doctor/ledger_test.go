package doctor_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cloud.google.com/go/firestore/apiv1/firestorepb"
	"google.golang.org/api/option"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/onbehalf-dev/onbehalf/internal/doctor"
	"github.com/onbehalf-dev/onbehalf/internal/jobs"
)

// firestore answers as Firestore does of a database that is empty, or with what is
// wrong with it.
type firestore struct {
	firestorepb.UnimplementedFirestoreServer
	on             bool
	reads, commits error
}

func (f *firestore) serve(t *testing.T) []option.ClientOption {
	t.Helper()
	if !f.on {
		return nil
	}
	listening, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	firestorepb.RegisterFirestoreServer(server, f)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listening) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return reachedAt(listening.Addr().String())
}

func (f *firestore) BatchGetDocuments(r *firestorepb.BatchGetDocumentsRequest, s firestorepb.Firestore_BatchGetDocumentsServer) error {
	if f.reads != nil {
		return f.reads
	}
	return s.Send(&firestorepb.BatchGetDocumentsResponse{Result: &firestorepb.BatchGetDocumentsResponse_Missing{Missing: r.GetDocuments()[0]}})
}

func (f *firestore) Commit(_ context.Context, r *firestorepb.CommitRequest) (*firestorepb.CommitResponse, error) {
	switch {
	case f.commits != nil:
		return nil, f.commits
	case len(r.GetWrites()) == 1 && r.GetWrites()[0].GetDelete() != "" && r.GetWrites()[0].GetCurrentDocument().GetUpdateTime() != nil:
		return nil, status.Error(codes.FailedPrecondition, "the stored version does not match the required base version")
	}
	return nil, status.Error(codes.Internal, "the doctor writes")
}

// disabled is what Google says of an API that is off.
func disabled(t *testing.T) error {
	t.Helper()
	s, err := status.New(codes.PermissionDenied, "Cloud Firestore API has not been used in project").WithDetails(
		&errdetails.ErrorInfo{Reason: "SERVICE_DISABLED", Domain: "googleapis.com", Metadata: map[string]string{"service": "firestore.googleapis.com"}})
	if err != nil {
		t.Fatal(err)
	}
	return s.Err()
}

func TestTheLedgerInFirestore(t *testing.T) {
	const use = "gcloud projects add-iam-policy-binding onbehalf-sandbox --member=serviceAccount:" + robot + " --role=roles/datastore.user"
	for name, c := range map[string]struct {
		database firestore
		failed   string
		fault    jobs.Fault
		fix      string
	}{
		"in order":            {firestore{}, "", "", ""},
		"no right to read":    {firestore{reads: status.Error(codes.PermissionDenied, "Missing or insufficient permissions.")}, "ledger", jobs.FaultOperator, use},
		"no right to write":   {firestore{commits: status.Error(codes.PermissionDenied, "Missing or insufficient permissions.")}, "ledger", jobs.FaultOperator, use},
		"no database":         {firestore{reads: status.Error(codes.NotFound, "The database onbehalf does not exist for project")}, "ledger", jobs.FaultOperator, "gcloud firestore databases create --database='onbehalf' --location=REGION --type=firestore-native --project=onbehalf-sandbox"},
		"in the other mode":   {firestore{reads: status.Error(codes.FailedPrecondition, "The Cloud Firestore API is not available for Firestore in Datastore Mode database")}, "ledger", jobs.FaultOperator, "--type=firestore-native"},
		"the API is off":      {firestore{reads: disabled(t)}, "api firestore.googleapis.com", jobs.FaultOperator, "gcloud services enable firestore.googleapis.com --project=onbehalf-sandbox"},
		"the quota is spent":  {firestore{reads: status.Error(codes.ResourceExhausted, "Quota exceeded.")}, "ledger", jobs.FaultQuota, "gcloud billing projects link"},
		"it does not answer":  {firestore{reads: status.Error(codes.Unavailable, "ya29.secret")}, "ledger", jobs.FaultGoogle, "status.cloud.google.com"},
		"nobody is told more": {firestore{reads: status.Error(codes.InvalidArgument, "ya29.secret")}, "ledger", jobs.FaultOperator, "gcloud firestore databases list"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := healthy()
			p.settings = []string{"ONBEHALF_LEDGER=firestore:onbehalf"}
			p.database.on, p.database.reads, p.database.commits = true, c.database.reads, c.database.commits
			r := p.examine(t)
			if c.failed == "" {
				check(t, r, nil, "", nil)
				if got := ids(r, doctor.Passed); !slices.Contains(got, "ledger") || !slices.Contains(got, "api firestore.googleapis.com") {
					t.Errorf("passed: %q", got)
				}
				return
			}
			check(t, r, []string{c.failed}, c.fault, []string{c.fix})
			for _, found := range r.Checks {
				if strings.Contains(found.Says+found.Fix, "secret") && found.Name == "ledger" {
					t.Errorf("%+v", found)
				}
			}
		})
	}
}

// The emulator that the environment names is asked, and the real Firestore is not where
// a sandbox stands in for Google.
func TestTheLedgerOfASandbox(t *testing.T) {
	p := healthy()
	p.settings = []string{"ONBEHALF_LEDGER=firestore:(default)"}
	r := p.examine(t)
	check(t, r, nil, "", nil)
	if got := ids(r, doctor.NotReached); !slices.Contains(got, "ledger") || strings.Contains(r.Next, "not seen") {
		t.Errorf("not reached: %q; %s", got, r.Next)
	}
	const nobody = "127.0.0.1:1"
	t.Setenv("FIRESTORE_EMULATOR_HOST", nobody)
	p.settings = append(p.settings, "FIRESTORE_EMULATOR_HOST="+nobody)
	check(t, p.examine(t), []string{"ledger"}, jobs.FaultOperator, []string{"Start the emulator", "unset FIRESTORE_EMULATOR_HOST"})
}

func TestTheLedgerInAFile(t *testing.T) {
	dir := t.TempDir()
	for path, fix := range map[string]string{
		filepath.Join(dir, "ledger"):         "",
		filepath.Join(dir, "none", "ledger"): "mkdir -p " + filepath.Join(dir, "none"),
		dir:                                  "Name a file in it, such as " + filepath.Join(dir, "ledger"),
		writeFile(t, "notes", []byte(strings.Repeat("notes\n", 10_000))): "Name another file",
	} {
		p := healthy()
		p.settings = []string{"ONBEHALF_LEDGER=file:" + path}
		if r := p.examine(t); fix == "" {
			check(t, r, nil, "", nil)
		} else {
			check(t, r, []string{"ledger"}, jobs.FaultOperator, []string{fix})
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("beside the ledger is left %v, %v", left, err)
	}
}

package bench

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	_ "net/http/pprof" //nolint:gosec // on loopback, to look into a run with
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"cloud.google.com/go/pubsub/v2"
	"cloud.google.com/go/pubsub/v2/apiv1/pubsubpb"
	"cloud.google.com/go/pubsub/v2/pstest"
	"github.com/GoogleCloudPlatform/functions-framework-go/funcframework"
	"github.com/GoogleCloudPlatform/functions-framework-go/functions"
	"google.golang.org/api/option"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	_ "github.com/onbehalf-dev/onbehalf" // registers the function, as the buildpack's main does
	"github.com/onbehalf-dev/onbehalf/internal/sandbox"
)

// The benchmark starts its own test binary again, as another process.
const roleVariable = "BENCH_ROLE"

func TestMain(m *testing.M) {
	var err error
	switch os.Getenv(roleVariable) {
	case "server":
		err = serveGoogle()
	case "function":
		err = serveFunction()
	case "relay":
		err = serveRelay()
	case "publisher":
		err = servePublisher()
	case "long-limit":
		err = carryAs(carryBare)
	case "long-peer":
		err = carryAs(carryByClients)
	default:
		os.Exit(m.Run())
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// users is how many the sandbox has: more than a run has new ones.
const users = 200_000

func user(n int) string { return fmt.Sprintf("user%d@example.com", n%users) }

// serveGoogle is the server's process: the sandbox, and a Pub/Sub.
func serveGoogle() error {
	latency, err := time.ParseDuration(os.Getenv("BENCH_LATENCY"))
	if err != nil {
		return err
	}
	world := sandbox.DefaultWorld()
	world.Users = nil
	if os.Getenv("BENCH_LONG") != "" {
		world.Objects = map[string][]byte{"letters/long.eml": longLetterText()}
	}
	if quota := os.Getenv("BENCH_QUOTA"); quota != "" {
		if err := json.Unmarshal([]byte(quota), &world.Quota); err != nil {
			return err
		}
	}
	population, err := strconv.Atoi(os.Getenv("BENCH_USERS"))
	if err != nil {
		return err
	}
	for n := range population {
		world.Users = append(world.Users, sandbox.User{PrimaryEmail: user(n)})
	}
	google, err := sandbox.New(world, sandbox.Options{Latency: latency})
	if err != nil {
		return err
	}
	messages := pstest.NewServer()
	conn, err := grpc.NewClient(messages.Addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	client, err := pubsub.NewClient(context.Background(), world.Project, option.WithGRPCConn(conn))
	if err != nil {
		return err
	}
	if _, err := client.TopicAdminClient.CreateTopic(context.Background(), &pubsubpb.Topic{Name: "projects/" + world.Project + "/topics/onbehalf-results"}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", listener.Addr(), messages.Addr)
	return http.Serve(listener, &organisation{Handler: google}) //nolint:gosec // a child of the benchmark, on loopback
}

// serveFunction is the function's process, as deployed, and beside it a port
// at which the process tells its own cost.
func serveFunction() error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	http.HandleFunc("/cost", func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(ownCost()) })
	go http.Serve(listener, nil) //nolint:errcheck,gosec // ends with the process, on loopback
	return funcframework.StartHostPort("127.0.0.1", os.Getenv("PORT"))
}

// serveRelay is the process of the least function that could do the job: it
// takes the event, and posts a letter with a ready token.
func serveRelay() error {
	c, token := client(), os.Getenv("BENCH_TOKEN")
	raw, err := os.ReadFile(letterFile)
	if err != nil {
		return err
	}
	functions.HTTP("Relay", func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := send(r.Context(), c, os.Getenv("BENCH_GOOGLE"), raw, "Authorization", "Bearer "+token, "Content-Type", "message/rfc822"); err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
		}
	})
	return serveFunction()
}

// cost is what a process has used up so far.
type cost struct {
	CPU    time.Duration
	Allocs uint64
	Peak   int64 // of memory, in bytes
}

func (c cost) since(earlier cost) cost {
	return cost{c.CPU - earlier.CPU, c.Allocs - earlier.Allocs, c.Peak}
}

func ownCost() cost {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	return cost{time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), memory.Mallocs, peakMemory("self")}
}

// child is another process of this test binary.
type child struct {
	*exec.Cmd
	says string // its first line
}

func start(tb testing.TB, role string, env ...string) *child {
	tb.Helper()
	binary, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	c := &child{Cmd: exec.CommandContext(tb.Context(), binary)}
	c.Env = append([]string{roleVariable + "=" + role, "PATH=" + os.Getenv("PATH"), "HOME=" + tb.TempDir()}, env...)
	c.Stderr = os.Stderr
	if role != "server" {
		c.Stderr = nil // one line an attempt
	}
	out, err := c.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
	if c.says, err = bufio.NewReader(out).ReadString('\n'); err != nil {
		tb.Fatalf("%s: %v", role, err)
	}
	c.says = strings.TrimSpace(c.says)
	return c
}

// google is the server's process, as the arms see it.
type google struct{ url, host, pubsub string }

func startGoogle(tb testing.TB, latency time.Duration, population int, env ...string) google {
	tb.Helper()
	c := start(tb, "server", append(env, "BENCH_LATENCY="+latency.String(), "BENCH_USERS="+strconv.Itoa(population))...)
	host, messages, ok := strings.Cut(c.says, " ")
	if !ok {
		tb.Fatalf("server: %s", c.says)
	}
	return google{"http://" + host, host, messages}
}

// calls counts the calls to Google so far.
func (g google) calls(tb testing.TB) map[string]int {
	tb.Helper()
	var calls map[string]int
	getJSON(tb, g.url+"/_sandbox/calls", &calls)
	return calls
}

func getJSON(tb testing.TB, url string, into any) {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodGet, url, nil)
	if err != nil {
		tb.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		tb.Fatalf("%s: %v", url, err)
	}
}

package main

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/firstseen/firstseen/internal/kafkatest"
)

// programs are what the test binary is when it runs under one of these names.
var programs = map[string]func(){"firstseen": main}

func TestMain(m *testing.M) {
	testscript.Main(m, programs)
}

// The program's words, as a user meets them. The scripts may use, beside
// testscript's own commands:
//
//	exits CODE program args..  run, and ask for this exit code
//	broker                     start a broker of this script; sets $BROKERS
//	topic NAME PARTITIONS      create a topic
//	produce TOPIC FILE         write a record for each line of the file: partition,
//	                           payment-id ("-": none), key, value
//	records TOPIC              print the records in that form
//	makestore DIR              make a store with markers in it
//	largestore DIR             make a store with 180,000 markers in three tables
//	holdstore DIR              open a store until the script ends
//	damage DIR PATTERN         change one byte in the largest such file of a store's database
//	readonly DIR               mount a directory once more, over itself, for reading only;
//	                           Linux, and root alone ([root]), may do that
//	image DIR FILE             write what is in a directory into a file, to compare
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Values[clusterOf{}] = new(kafkatest.Cluster)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":     cmdExits,
			"broker":    cmdBroker,
			"topic":     cmdTopic,
			"produce":   cmdProduce,
			"records":   cmdRecords,
			"makestore": cmdMakeStore, "largestore": cmdLargeStore,
			"holdstore": cmdHoldStore,
			"damage":    cmdDamage,
			"image":     cmdImage,
			"readonly":  cmdReadOnly,
		},
		Condition: func(cond string) (bool, error) {
			if cond == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("there is no condition %q", cond)
		},
	})
}

func cmdExits(ts *testscript.TestScript, _ bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		var exit *exec.ExitError
		if !errors.As(err, &exit) {
			ts.Fatalf("%v", err)
		}
		got = exit.ExitCode()
	}
	if got != want {
		ts.Fatalf("%s exits with %d, not %d", strings.Join(args[1:], " "), got, want)
	}
}

// scriptT lets the helpers of kafkatest fail a script.
type scriptT struct {
	testing.TB
	ts *testscript.TestScript
}

func (t scriptT) Helper()                           {}
func (t scriptT) Cleanup(fn func())                 { t.ts.Defer(fn) }
func (t scriptT) Errorf(format string, args ...any) { t.ts.Logf(format, args...) }
func (t scriptT) FailNow()                          { t.ts.Fatalf("the script's helper failed") }

type clusterOf struct{}

func cluster(ts *testscript.TestScript) *kafkatest.Cluster {
	return ts.Value(clusterOf{}).(*kafkatest.Cluster)
}

func cmdBroker(ts *testscript.TestScript, _ bool, _ []string) {
	c := kafkatest.NewFake(scriptT{ts: ts}, kfake.DefaultNumPartitions(1))
	*cluster(ts) = *c
	ts.Setenv("BROKERS", strings.Join(c.Brokers(), ","))
}

func cmdTopic(ts *testscript.TestScript, _ bool, args []string) {
	partitions, err := strconv.ParseInt(args[1], 10, 32)
	ts.Check(err)
	cluster(ts).CreateTopic(scriptT{ts: ts}, args[0], int32(partitions), nil)
}

func cmdProduce(ts *testscript.TestScript, _ bool, args []string) {
	var recs []*kgo.Record
	for line := range strings.Lines(ts.ReadFile(args[1])) {
		fields := strings.Fields(line)
		partition, err := strconv.ParseInt(fields[0], 10, 32)
		ts.Check(err)
		rec := &kgo.Record{
			Topic: args[0], Partition: int32(partition),
			Key: []byte(fields[2]), Value: []byte(fields[3]),
		}
		if fields[1] != "-" {
			rec.Headers = []kgo.RecordHeader{{Key: paymentID, Value: []byte(fields[1])}}
		}
		recs = append(recs, rec)
	}
	cluster(ts).Produce(scriptT{ts: ts}, recs...)
}

func cmdRecords(ts *testscript.TestScript, _ bool, args []string) {
	all := cluster(ts).ReadAll(scriptT{ts: ts}, args[0])
	for _, p := range slices.Sorted(maps.Keys(all)) {
		for _, rec := range all[p] {
			id := "-"
			for _, h := range rec.Headers {
				if h.Key == paymentID {
					id = string(h.Value)
				}
			}
			fmt.Fprintln(ts.Stdout(), p, id, string(rec.Key), string(rec.Value))
		}
	}
}

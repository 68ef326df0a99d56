package home_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/understudy-dr/understudy/activities/replica"
	"github.com/understudy-dr/understudy/activities/replica/files"
	"github.com/understudy-dr/understudy/activities/replica/home"
	"github.com/understudy-dr/understudy/activities/replica/litestream"
	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
)

// errDied is what a crash looks like from outside.
var errDied = errors.New("the host died")

// service counts its writers: one, or none.
type service struct {
	running  bool
	epoch    int64
	prefixes []string
	// dies lets the host die at a call of that name, once.
	dies string
}

func (s *service) die(at string) error {
	if s.dies == at {
		s.dies = ""
		return errDied
	}
	return nil
}

func (s *service) Stop(context.Context) error {
	if err := s.die("before stop"); err != nil {
		return err
	}
	s.running = false
	return s.die("after stop")
}

func (s *service) Start(_ context.Context, epoch int64, prefixes []string) error {
	if err := s.die("before start"); err != nil {
		return err
	}
	s.running, s.epoch, s.prefixes = true, epoch, prefixes
	return s.die("after start")
}

func (s *service) Resume(_ context.Context, epoch int64, prefixes []string) error {
	s.epoch, s.prefixes = epoch, prefixes
	return nil
}

// scene is a host whose old data has one row and one file that nobody replicated,
// and a standby's data of epoch 5.
type scene struct {
	*service
	t            *testing.T
	dir, db, out string
	config       home.Config
}

func newScene(t *testing.T) *scene {
	program, err := harness.FindLitestream()
	if err != nil {
		t.Skipf("missing: %v", err)
	}
	dir := t.TempDir()
	s := &scene{t: t, service: &service{running: true}, dir: dir, db: filepath.Join(dir, "host", "history.db"), out: filepath.Join(dir, "host", "audio")}
	store := "file://" + filepath.Join(dir, "store", "db")
	standby := filepath.Join(dir, "standby", "history.db")
	s.fill(standby, "one", "two", "three")
	s.fill(s.db, "one", "two", "lost")
	replicate(t, dir, standby, replica.Prefix(store, 5))
	for name, text := range map[string]string{"same.wav": "same", "changed.wav": "old", "lost.wav": "lost"} {
		write(t, filepath.Join(s.out, name), text)
	}
	state := filepath.Join(dir, "state")
	s.config = home.Config{
		Service: "asr", Programs: s.service, State: filepath.Join(state, "asr.json"),
		Data:     []runbooks.Data{{Kind: "litestream", Replica: store, Path: s.db, Check: "select count(*) from history"}, {Kind: "files", Bucket: "s3://audio/asr", Path: s.out}},
		Replicas: map[string]replica.Replica{"litestream": litestream.New(litestream.Config{State: state, Program: program}), "files": fakeFiles{}},
	}
	return s
}

// fakeFiles restores two files; the real one is tested beside MinIO by its own suite.
type fakeFiles struct{}

func (fakeFiles) Look(context.Context, runbooks.Data, int64) (replica.Point, error) {
	return replica.Point{Epoch: 5, Position: "x", At: time.Now(), Items: 2}, nil
}
func (fakeFiles) Epochs(context.Context, runbooks.Data) ([]int64, error) { return []int64{5}, nil }
func (fakeFiles) Restore(_ context.Context, _ string, d runbooks.Data, p replica.Point) (replica.Restored, error) {
	if err := os.MkdirAll(d.Path, 0o755); err != nil {
		return replica.Restored{}, err
	}
	for name, text := range map[string]string{"same.wav": "same", "changed.wav": "new"} {
		if err := os.WriteFile(filepath.Join(d.Path, name), []byte(text), 0o644); err != nil {
			return replica.Restored{}, err
		}
	}
	return replica.Restored{Point: p, Path: d.Path}, nil
}
func (fakeFiles) Remove(_ context.Context, _ string, d runbooks.Data) error {
	return os.RemoveAll(d.Path)
}
func (fakeFiles) SetAside(context.Context, string, runbooks.Data) (string, error) { return "", nil }

var _ replica.Replica = (*files.Replica)(nil)

func (s *scene) host() *home.Host {
	s.t.Helper()
	h, err := home.New(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

func (s *scene) fill(path string, items ...string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	db := open(s.t, path)
	defer db.Close()
	if _, err := db.Exec(`create table if not exists history (id integer primary key, item text); create table if not exists "odd ""name" (x)`); err != nil {
		s.t.Fatal(err)
	}
	for _, item := range items {
		if _, err := db.Exec("insert into history (item) values (?)", item); err != nil {
			s.t.Fatal(err)
		}
	}
}

func (s *scene) items(path string) string {
	s.t.Helper()
	db := open(s.t, path)
	defer db.Close()
	rows, err := db.Query("select item from history order by id")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var item string
		if err := rows.Scan(&item); err != nil {
			s.t.Fatal(err)
		}
		all = append(all, item)
	}
	return strings.Join(all, " ")
}

func open(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: "_pragma=journal_mode(wal)&_pragma=busy_timeout(5000)"}).String())
	if err != nil {
		t.Fatal(err)
	}
	return db
}

// replicate lets a real litestream replicate a database until all of it has arrived.
func replicate(t *testing.T, dir, db, to string) {
	t.Helper()
	process, err := harness.Litestream(t.Context(), harness.LitestreamOptions{Dir: dir, DB: db, Replica: to, Interval: "20ms"})
	if err != nil {
		t.Fatal(err)
	}
	defer process.Kill()
	base := strings.TrimSuffix(to, "/epoch-5")
	r := litestream.New(litestream.Config{State: filepath.Join(dir, "look")})
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if _, err := r.Look(t.Context(), runbooks.Data{Kind: "litestream", Replica: base, Path: db}, 5); err == nil {
			return
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o640); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// isHome checks that all of epoch 5 is here, and that nothing of the old is lost.
func (s *scene) isHome(done home.Taken) {
	t := s.t
	t.Helper()
	if !s.running || s.epoch != 7 || len(s.prefixes) != 2 || !strings.HasSuffix(s.prefixes[0], "/db/epoch-7") || s.prefixes[1] != "s3://audio/asr/epoch-7" {
		t.Errorf("the service: %+v", s.service)
	}
	if got := s.items(s.db); got != "one two three" {
		t.Errorf("rows at home: %s", got)
	}
	if got := read(t, filepath.Join(s.out, "changed.wav")); got != "new" {
		t.Errorf("a file at home: %s", got)
	}
	rows, audio := done.Pieces[0], done.Pieces[1]
	if rows.Tail.Rows != 1 || rows.Restored.Check != "3" || rows.Restored.Path != s.db || audio.Tail.Files != 2 {
		t.Errorf("taken over: %+v", done)
	}
	if got := s.items(rows.Aside); got != "one two lost" {
		t.Errorf("the old rows: %s", got)
	}
	if got := read(t, rows.Tail.List); !strings.Contains(got, `"item":"lost"`) || strings.Count(got, "\n") != 1 {
		t.Errorf("the list of rows: %s", got)
	}
	if got := read(t, audio.Tail.List); !strings.Contains(got, "lost.wav") || !strings.Contains(got, "changed.wav") || strings.Contains(got, "same.wav") {
		t.Errorf("the list of files: %s", got)
	}
	if got := read(t, filepath.Join(audio.Aside, "lost.wav")); got != "lost" {
		t.Errorf("an old file: %s", got)
	}
}

// isAsBefore checks that the old data is back at its place, served.
func (s *scene) isAsBefore() {
	s.t.Helper()
	if !s.running || s.epoch != 0 {
		s.t.Errorf("the service: %+v", s.service)
	}
	if got := s.items(s.db); got != "one two lost" {
		s.t.Errorf("rows: %s", got)
	}
	if got := read(s.t, filepath.Join(s.out, "lost.wav")); got != "lost" {
		s.t.Errorf("a file: %s", got)
	}
}

func TestTakingOverAndGivingBack(t *testing.T) {
	s := newScene(t)
	h := s.host()
	done, err := h.TakeOver(t.Context(), 5, 7)
	if err != nil {
		t.Fatal(err)
	}
	s.isHome(done)
	if said := done.String(); !strings.Contains(said, "1 of its rows were never replicated") || !strings.Contains(said, done.Pieces[0].Aside) {
		t.Errorf("it says: %s", said)
	}
	s.running = false // whoever asks again finds what was done, and starts nothing
	if again, err := s.host().TakeOver(t.Context(), 5, 7); err != nil || again.String() != done.String() || s.running {
		t.Errorf("again: %v, %v; running %v", again, err, s.running)
	}
	for _, refused := range [][2]int64{{5, 6}, {4, 7}} {
		if _, err := h.TakeOver(t.Context(), refused[0], refused[1]); !errors.Is(err, home.ErrOld) {
			t.Errorf("epoch %d from %d: %v, want ErrOld", refused[1], refused[0], err)
		}
	}
	s.fill(s.db, "written at home")
	for range 2 {
		if err := s.host().GiveBack(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		s.isAsBefore()
	}
	if got := s.items(s.db + ".after-epoch-7"); got != "one two three written at home" {
		t.Errorf("what was written meanwhile: %s", got)
	}
	if _, err := h.TakeOver(t.Context(), 5, 7); !errors.Is(err, home.ErrOld) {
		t.Errorf("taken over again: %v, want ErrOld", err)
	}
	if _, err := h.TakeOver(t.Context(), 5, 9); err != nil {
		t.Errorf("the next epoch: %v", err)
	}
}

// A failback that was taken back before its order arrived is never carried out.
func TestAnOrderThatComesLate(t *testing.T) {
	s := newScene(t)
	if err := s.host().GiveBack(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	s.isAsBefore()
	if _, err := s.host().TakeOver(t.Context(), 5, 7); !errors.Is(err, home.ErrOld) {
		t.Errorf("taken over: %v, want ErrOld", err)
	}
	if _, err := s.host().TakeOver(t.Context(), 5, 8); err != nil {
		t.Errorf("the next epoch: %v", err)
	}
}

// A host without data of its own gives back what it never had, also where it dies at the very end of that.
func TestGivingBackWhereNothingWasBefore(t *testing.T) {
	s := newScene(t)
	for _, path := range []string{s.db, s.out} {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.host().TakeOver(t.Context(), 5, 7); err != nil {
		t.Fatal(err)
	}
	s.dies = "after start"
	if err := s.host().GiveBack(t.Context(), 7); !errors.Is(err, errDied) {
		t.Fatal(err)
	}
	s.fill(s.db, "written by the service that was started") // and then it is stopped again
	if err := s.host().Resume(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := s.items(s.db + ".after-epoch-7"); got != "one two three" || !s.running || s.epoch != 0 {
		t.Errorf("what was taken over: %s; the service: %+v", got, s.service)
	}
}

// A service that cannot be stopped keeps its data, and is started again without another stop.
func TestAServiceThatIsNotStopped(t *testing.T) {
	s := newScene(t)
	s.dies = "after stop"
	if _, err := s.host().TakeOver(t.Context(), 5, 7); !errors.Is(err, home.ErrService) {
		t.Fatalf("got %v, want ErrService", err)
	}
	s.dies = "before stop"
	if err := s.host().GiveBack(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	s.isAsBefore()
}

// The data of a hot standby is there already: only where it replicates to changes.
func TestTakingOverInPlace(t *testing.T) {
	s := newScene(t)
	s.config.InPlace = true
	s.dies = "after start"
	if _, err := s.host().TakeOver(t.Context(), 0, 7); !errors.Is(err, errDied) {
		t.Fatal(err)
	}
	done, err := s.host().TakeOver(t.Context(), 0, 7)
	if err != nil || !strings.Contains(done.String(), "below epoch 7") || !s.running || s.epoch != 7 {
		t.Errorf("%v, %v; the service: %+v", done, err, s.service)
	}
	if err := s.host().GiveBack(t.Context(), 7); err != nil {
		t.Fatal(err)
	}
	s.isAsBefore()
}

func TestWhatCannotBeTakenOver(t *testing.T) {
	s := newScene(t)
	if _, err := s.host().TakeOver(t.Context(), 6, 7); !errors.Is(err, replica.ErrNone) {
		t.Errorf("nothing was replicated: %v, want ErrNone", err)
	}
	s.config.Data[0].Check = "select count(*) from absent"
	if _, err := s.host().TakeOver(t.Context(), 5, 8); !errors.Is(err, replica.ErrDamaged) {
		t.Errorf("it fails its check: %v, want ErrDamaged", err)
	}
	s.isAsBefore()
	s.config.Service = "other"
	if _, err := home.New(s.config); err == nil || !strings.Contains(err.Error(), "asr") {
		t.Errorf("the state of another service: %v", err)
	}
}

// Wherever the host dies, whoever asks again finishes it, and whoever takes it back finds the old data.
func TestDeathAtEachStep(t *testing.T) {
	for _, at := range []string{"before stop", "after stop", "before start", "after start"} {
		for _, next := range []string{"again", "give back", "a later epoch"} {
			t.Run(at+", then "+next, func(t *testing.T) {
				s := newScene(t)
				s.dies = at
				if _, err := s.host().TakeOver(t.Context(), 5, 7); !errors.Is(err, errDied) {
					t.Fatal(err)
				}
				if err := s.host().Resume(t.Context()); err != nil {
					t.Fatal(err)
				}
				switch next {
				case "again":
					done, err := s.host().TakeOver(t.Context(), 5, 7)
					if err != nil {
						t.Fatal(err)
					}
					s.isHome(done)
				case "give back":
					if err := s.host().GiveBack(t.Context(), 7); err != nil {
						t.Fatal(err)
					}
					s.isAsBefore()
				default:
					done, err := s.host().TakeOver(t.Context(), 5, 9)
					if err != nil || done.Epoch != 9 || done.Pieces[0].Tail.Rows != 1 || s.items(s.db) != "one two three" {
						t.Errorf("%+v, %v", done, err)
					}
				}
			})
		}
	}
}

// A move that was cut short leaves the journal behind; it follows.
func TestDeathWithinAMove(t *testing.T) {
	for moved := range 3 {
		t.Run(fmt.Sprint(moved), func(t *testing.T) {
			s := newScene(t)
			s.dies = "before start"
			if _, err := s.host().TakeOver(t.Context(), 5, 7); !errors.Is(err, errDied) {
				t.Fatal(err)
			}
			// What a give-back finds that died between two renames.
			after := s.db + ".after-epoch-7"
			write(t, s.db+"-journal", "")
			for i, pair := range [][2]string{{s.db, after}, {s.db + "-journal", after + "-journal"}} {
				if i < moved {
					if err := os.Rename(pair[0], pair[1]); err != nil {
						t.Fatal(err)
					}
				}
			}
			if err := s.host().GiveBack(t.Context(), 7); err != nil {
				t.Fatal(err)
			}
			s.isAsBefore()
			left, err := filepath.Glob(s.db + "*")
			if err != nil || slices.Contains(left, s.db+"-journal") {
				t.Errorf("left: %q, %v", left, err)
			}
		})
	}
}

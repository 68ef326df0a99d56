// Package sphinx keeps a pocketsphinx recognizer in memory, as a speech server
// keeps its model on the GPU.
//
// The engine is the program pocketsphinx_batch. It loads the model, then reads
// the names of utterances from its input, one a line, and logs what it heard.
// Fed through a pipe it never comes to the end of its list: a resident engine.
// When the pipe closes, because its owner stopped or died, it ends by itself.
package sphinx

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"github.com/understudy-dr/understudy/tests/site/audio"
)

// The files of a model directory.
const (
	Acoustic   = "en-us"              // how sounds sound: a directory
	Language   = "en-us.lm.bin"       // which words follow each other
	Lexicon    = "cmudict-en-us.dict" // how 134,000 words are pronounced
	Vocabulary = "vocabulary.txt"     // those that the engine listens for; may be missing
)

// ErrBroken means that the engine ended: it could not load its model, or died of an utterance.
var ErrBroken = errors.New("the recognizer ended")

// Word is a word that was heard; times in seconds from the start of the audio.
type Word struct {
	Word  string  `json:"word"`
	Start float64 `json:"start"`
	End   float64 `json:"end"`
}

// Engine is a loaded recognizer. It hears one utterance at a time: its methods
// must not be called at the same time.
type Engine struct {
	// Unknown are the hot words that are in no dictionary.
	Unknown []string

	dir        string
	cmd        *exec.Cmd
	utterances io.WriteCloser
	output     *os.File
	log        *bufio.Scanner
	complaint  string
	count      int
	ended      chan struct{}
}

// Load starts an engine on a model directory. Hot words are words beyond the
// model's vocabulary that it shall listen for as well. Loading goes on after
// the return; the first transcription waits for it, and proves it.
func Load(model string, hotwords []string) (*Engine, error) {
	dir, err := os.MkdirTemp("", "sphinx-")
	if err != nil {
		return nil, fmt.Errorf("load recognizer: %w", err)
	}
	e := &Engine{dir: dir, ended: make(chan struct{})}
	if err := e.start(model, hotwords); err != nil {
		os.RemoveAll(dir)
		return nil, fmt.Errorf("load recognizer: %w", err)
	}
	return e, nil
}

func (e *Engine) start(model string, hotwords []string) (err error) {
	var words string
	if words, e.Unknown, err = dictionary(model, hotwords, e.dir); err != nil {
		return err
	}
	e.cmd = exec.Command("pocketsphinx_batch",
		"-hmm", filepath.Join(model, Acoustic),
		"-lm", filepath.Join(model, Language),
		"-dict", words,
		"-ctl", "/dev/stdin",
		"-adcin", "yes", "-cepdir", e.dir, "-cepext", ".raw",
		"-backtrace", "yes", // logs each word with its time
		"-remove_silence", "no", // or times would leave the pauses out
	)
	// In a group of its own, for a Ctrl-C is meant for the site, which then ends in order.
	e.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if e.utterances, err = e.cmd.StdinPipe(); err != nil {
		return err
	}
	var logged *os.File
	if e.output, logged, err = os.Pipe(); err != nil {
		return err
	}
	e.cmd.Stderr, e.log = logged, bufio.NewScanner(e.output)
	started := make(chan error)
	go func() {
		// The kernel sends the death signal when the thread ends that started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := e.cmd.Start()
		logged.Close()
		started <- err
		if err == nil {
			_ = e.cmd.Wait()
			close(e.ended)
		}
	}()
	return <-started
}

// Transcribe returns the utterances of a clip, each with its words; silence has none.
func (e *Engine) Transcribe(clip audio.Clip) ([][]Word, error) {
	e.count++
	name := strconv.Itoa(e.count)
	samples := filepath.Join(e.dir, name+".raw")
	if err := os.WriteFile(samples, clip.PCM(), 0o600); err != nil {
		return nil, fmt.Errorf("transcribe: %w", err)
	}
	defer os.Remove(samples)
	var utterances [][]Word
	for _, span := range split(clip) {
		words, err := e.decode(name, span)
		if err != nil {
			return nil, fmt.Errorf("transcribe: %w", err)
		}
		if len(words) > 0 {
			utterances = append(utterances, words)
		}
	}
	return utterances, nil
}

// decode hands one utterance to the engine and reads its log up to the line that says "done".
func (e *Engine) decode(name string, s span) ([]Word, error) {
	id := fmt.Sprintf("%s-%d", name, s.from)
	// A failed write shows below as the end of the log.
	fmt.Fprintf(e.utterances, "%s %d %d %s\n", name, s.from, s.to, id)
	var words []Word
	for e.log.Scan() {
		line := e.log.Text()
		switch {
		case strings.HasPrefix(line, id+" done "):
			return words, nil
		case strings.HasPrefix(line, `ERROR: "batch.c"`):
			return nil, errors.New(line)
		case strings.HasPrefix(line, "ERROR"), strings.HasPrefix(line, "FATAL"):
			e.complaint = line
		}
		if word, ok := parseWord(line, s.from); ok {
			words = append(words, word)
		}
	}
	return nil, fmt.Errorf("%w: %.200s", ErrBroken, e.complaint)
}

// parseWord reads a line of the log's table: word, first and last frame, probability, and three scores.
func parseWord(line string, offset int) (Word, bool) {
	fields := strings.Fields(line)
	// Words in brackets are silence and noise.
	if len(fields) != 7 || strings.ContainsAny(line[:1], "<[") {
		return Word{}, false
	}
	first, err1 := strconv.Atoi(fields[1])
	last, err2 := strconv.Atoi(fields[2])
	if err1 != nil || err2 != nil {
		return Word{}, false
	}
	return Word{Word: base(fields[0]), Start: seconds(offset + first), End: seconds(offset + last + 1)}, true
}

// Ended is closed when the engine has ended, asked or not.
func (e *Engine) Ended() <-chan struct{} { return e.ended }

// Close ends the engine.
func (e *Engine) Close() {
	_ = e.cmd.Process.Kill()
	<-e.ended
	e.output.Close()
	os.RemoveAll(e.dir)
}

func seconds(frames int) float64 { return float64(frames) / framesASecond }

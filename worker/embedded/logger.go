package embedded

import (
	"log/slog"
	"os"

	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/log/tag"
)

// logger hands the server's own log on, from warnings up: its notices mean
// nothing to the people who run Understudy.
type logger struct{ to *slog.Logger }

var _ log.Logger = logger{}

func newLogger(to *slog.Logger) log.Logger { return logger{to.With("component", "temporal")} }

func (l logger) Debug(string, ...tag.Tag) {}
func (l logger) Info(string, ...tag.Tag)  {}

func (l logger) Warn(msg string, tags ...tag.Tag)  { l.to.Warn(msg, values(tags)...) }
func (l logger) Error(msg string, tags ...tag.Tag) { l.to.Error(msg, values(tags)...) }

func (l logger) DPanic(msg string, tags ...tag.Tag) { l.to.Error(msg, values(tags)...) }

func (l logger) Panic(msg string, tags ...tag.Tag) {
	l.to.Error(msg, values(tags)...)
	panic("temporal: " + msg)
}

// Fatal ends the program, as the server's authors mean it: it cannot go on.
func (l logger) Fatal(msg string, tags ...tag.Tag) {
	l.to.Error(msg, values(tags)...)
	os.Exit(1)
}

func values(tags []tag.Tag) []any {
	pairs := make([]any, 0, 2*len(tags))
	for _, t := range tags {
		pairs = append(pairs, t.Key(), t.Value())
	}
	return pairs
}

package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/understudy-dr/understudy/tests/harness"
)

// browser is a Chromium of its own, in which one person has one tab.
type browser struct {
	t   *testing.T
	ctx context.Context
	url string

	mu    sync.Mutex
	wrong []string
}

// browse opens a browser, as somebody (name:password) where people log in. What
// a page must not do, an error in its script or something that its own policy
// forbids, fails the test.
func browse(t *testing.T, url, who string) *browser {
	t.Helper()
	path, err := harness.Find("chromium", "chromium")
	if err != nil {
		t.Skipf("missing: %v", err)
	}
	if who != "" {
		url = strings.Replace(url, "://", "://"+who+"@", 1)
	}
	// The sandbox wants user namespaces, which containers do not have; the pages are our own.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.WindowSize(1280, 900))
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	t.Cleanup(stop)
	ctx, leave := chromedp.NewContext(allocator)
	t.Cleanup(leave)
	b := &browser{t: t, ctx: ctx, url: url}
	messages := chromedp.Console(ctx)
	var listening sync.WaitGroup
	listening.Go(func() {
		for m, err := range messages {
			if err != nil {
				return
			}
			if text := fmt.Sprint(m); strings.Contains(text, "Content Security Policy") || strings.Contains(text, "Uncaught") {
				b.mu.Lock()
				b.wrong = append(b.wrong, text)
				b.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		leave()
		listening.Wait()
		for _, text := range b.wrong {
			t.Error("a page did what it must not do:", text)
		}
	})
	return b
}

// do acts, and fails the test where that cannot be done.
func (b *browser) do(steps ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		b.t.Fatalf("%v\n%s", err, b.text("body"))
	}
}

func (b *browser) open(path string) {
	b.t.Helper()
	b.do(chromedp.Navigate(b.url + path))
}

// ask evaluates an expression in the page.
func ask[T any](b *browser, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// is waits until an expression is true; a page may be on its way meanwhile.
func (b *browser) is(expression string) {
	b.t.Helper()
	eventually(b.t, func(context.Context) error {
		is, err := ask[bool](b, expression)
		if err == nil && !is {
			err = fmt.Errorf("it is not so: %s\n%s", expression, b.text("body"))
		}
		return err
	})
}

// sees waits until an element shows all texts to whoever looks.
func (b *browser) sees(selector string, texts ...string) {
	b.t.Helper()
	eventually(b.t, func(context.Context) error {
		shown := b.text(selector)
		for _, text := range texts {
			if !strings.Contains(shown, text) {
				return fmt.Errorf("%s does not show %q but:\n%s", selector, text, shown)
			}
		}
		return nil
	})
}

// text is what the elements show.
func (b *browser) text(selector string) string {
	text, err := ask[string](b, "[...document.querySelectorAll("+quote(selector)+")].map(e => e.innerText).join('\\n').replace(/[ \\t\\n]+/g, ' ')")
	if err != nil {
		return err.Error() // of a page that is on its way
	}
	return text
}

// shown is the recovery whose page is open.
func (b *browser) shown() string {
	b.t.Helper()
	path, err := ask[string](b, "location.pathname")
	if err != nil {
		b.t.Fatal(err)
	}
	return strings.TrimPrefix(path, "/recoveries/")
}

func quote(text string) string {
	quoted, _ := json.Marshal(text) // text always has a JSON
	return string(quoted)
}

func (b *browser) click(selector string) {
	b.t.Helper()
	b.do(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (b *browser) write(selector, text string) {
	b.t.Helper()
	b.do(chromedp.SendKeys(chromedp.CSS(selector), text, chromedp.NodeVisible))
}

func (b *browser) press(keys string) {
	b.t.Helper()
	b.do(chromedp.KeyEvent(keys))
}

// tabTo moves on with the tab key until the focus is on what says the text. On
// the way the focus must be seen everywhere.
func (b *browser) tabTo(text string) {
	b.t.Helper()
	type focus struct {
		Text string `json:"text"`
		Seen bool   `json:"seen"`
	}
	var way []string
	for range 80 {
		b.press(kb.Tab)
		on, err := ask[focus](b, `(() => { const e = document.activeElement, s = getComputedStyle(e);
			return {text: (e.getAttribute("aria-label") || e.labels?.[0]?.innerText || e.innerText || e.tagName).trim(), seen: e === document.body || s.outlineStyle !== "none" && s.outlineWidth !== "0px"} })()`)
		if err != nil {
			b.t.Fatal(err)
		}
		if !on.Seen {
			b.t.Errorf("the focus on %q cannot be seen", on.Text)
		}
		if on.Text == text {
			return
		}
		way = append(way, on.Text)
	}
	b.t.Fatalf("the tab key does not lead to %q: %q", text, way)
}

// window sets width, theme and whether scripts run.
func (b *browser) window(width int64, theme string, scripts bool) {
	b.t.Helper()
	b.do(chromedp.EmulateViewport(width, 900, func(p *emulation.SetDeviceMetricsOverrideParams, _ *emulation.SetTouchEmulationEnabledParams) {
		p.Mobile = width < 500
	}))
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: theme}}})
	if err == nil {
		_, err = chromedp.Call(b.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !scripts})
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// picture keeps a picture of the page where UNDERSTUDY_PICTURES names a directory.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("UNDERSTUDY_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err := errors.Join(err, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644)); err != nil {
		b.t.Error(err)
	}
}

package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"golang.org/x/crypto/bcrypt"

	"github.com/understudy-dr/understudy/runbooks"
	"github.com/understudy-dr/understudy/tests/harness"
	"github.com/understudy-dr/understudy/triggers/audit"
)

// Somebody presses the button with the mouse, twice because nothing seems to
// happen, and watches, also while Understudy is killed and comes back; commits;
// finds it in the history.
func TestTheButton(t *testing.T) {
	abreast(t)
	s := setScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, _ *runbooks.Site) {
		r.Policy.Confirm = runbooks.Duration(10 * time.Minute)
		r.Objectives.RTO = runbooks.Duration(30 * time.Second)
	}})
	u := s.Understudy
	guard(t, u, atRest)
	b := browse(t, u.URL, "")
	b.open("/")
	b.sees("table.services", "fun-asr", "ready", "primary", "no recovery yet")
	s.Primary.Kill()
	b.click(`table.services a[href="/services/fun-asr"]`)
	b.sees("#tiers", "hot", "serves now")
	b.click("a[data-dialog]")
	b.sees("dialog[open] .plan", "hot", "would be tried")
	b.write("#reason", "users hear silence")
	b.do(chromedp.DoubleClick(chromedp.CSS("dialog .go button.strong"), chromedp.NodeVisible))
	b.is(`location.pathname.startsWith("/recoveries/fun-asr-") && document.readyState === "complete"`)
	b.sees("#checks", "diagnose done", "cut over done", "settle running")
	b.sees("#facts", "Recovery time", "objective 30 s")
	b.picture("recovery-running")

	// The page outlives a restart of Understudy, and what was written into it as well.
	b.is("window.stays = true")
	b.click("#verb-commit > summary")
	b.write("#why-commit", "it sounds well")
	u.Kill()
	b.sees("#away", "No connection to Understudy")
	if err := u.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.is(`window.stays && document.getElementById("away").hidden && document.getElementById("why-commit").value === "it sounds well"`)
	b.sees("#checks", "settle running")

	// What happens reaches the page without anybody's doing: somebody else commits.
	b.sees("#decide", "Roll back")
	id := b.shown()
	command(t, u, 0, []string{"the service stays on hot"}, "commit", id, "--reason", "it sounds well", "--user", "bert")
	b.sees("#headline", id+" recovered", "fun-asr runs on hot")
	b.sees("#checks", "settle done", "report done")
	b.sees("#rest", "bert", "commit", "it sounds well")
	b.is(`window.stays && !document.querySelector("form[method=post]") && !document.body.dataset.events`)
	b.picture("recovery-over")
	b.click(`nav[aria-label="Pages"] a[href="/history"]`)
	b.sees("table.runs tbody tr", id, "recovered", "person", "within 30 s")
	b.picture("history")
	if n := count(t, u); n != 1 {
		t.Errorf("%d recoveries", n)
	}
}

// Two people with passwords: a viewer, who sees no buttons and cannot press
// them, and an approver without a mouse, who is asked before a machine is made.
func TestTheConsoleByRoleAndKeyboard(t *testing.T) {
	abreast(t)
	dir := t.TempDir()
	hashes := map[string]string{}
	for _, name := range []string{"vera", "anna"} {
		hash, err := bcrypt.GenerateFromPassword([]byte("of-"+name), bcrypt.MinCost)
		if err != nil {
			t.Fatal(err)
		}
		hashes[name] = string(hash)
	}
	web, err := json.Marshal(map[string]any{"basic_auth_users": hashes})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "web.yml"), web, 0o600); err != nil {
		t.Fatal(err)
	}
	s := setScene(t, harness.SceneOptions{Held: true, Edit: func(r *runbooks.Runbook, site *runbooks.Site) {
		site.Users, site.Listen.WebConfig = []runbooks.User{{Name: "vera", Role: "viewer"}, {Name: "anna", Role: "approver"}}, filepath.Join(dir, "web.yml")
		r.Policy.Confirm = runbooks.Duration(time.Second)
	}})
	u := s.Understudy
	s.Primary.Kill()
	vera, anna := browse(t, u.URL, "vera:of-vera"), browse(t, u.URL, "anna:of-anna")

	// The viewer sees everything but buttons; what she sends all the same is refused.
	const decides = `!!document.querySelector("form[method=post], a.button[data-dialog]")`
	for _, path := range []string{"/", "/services/fun-asr", "/services/fun-asr/recover"} {
		vera.open(path)
		vera.sees("main", "fun-asr")
		vera.sees(".who", "vera", "viewer")
		vera.is("!(" + decides + ")")
	}
	for _, send := range []string{
		`fetch(location.origin + "/services/fun-asr/recover", {method: "POST", body: new URLSearchParams({reason: "r", key: "1"})})`,
		`fetch(location.origin + "/api/v1/services/fun-asr/recover", {method: "POST", headers: {"Content-Type": "application/json", "Idempotency-Key": "1"}, body: '{"reason":"r"}'})`,
	} {
		if status, err := ask[int](vera, send+".then(a => a.status)"); err != nil || status != 403 {
			t.Errorf("%s: %d, %v", send, status, err)
		}
	}

	// The approver never touches the mouse.
	anna.open("/")
	anna.sees("table.services", "fun-asr")
	anna.tabTo("Skip to the content")
	anna.press(kb.Enter)
	anna.tabTo("fun-asr")
	anna.press(kb.Enter)
	anna.sees("#tiers", "hot")
	anna.tabTo("Recover …")
	anna.press(kb.Enter)
	anna.sees("dialog[open] .plan", "would be tried")
	anna.press(kb.Escape)
	anna.is(`!document.querySelector("dialog[open]") && document.activeElement.matches("a[data-dialog]")`)
	anna.press(kb.Enter)
	anna.is(`document.activeElement.id === "reason"`)
	anna.press("users hear silence")
	anna.tabTo("Start the recovery")
	anna.press(kb.Enter)
	anna.is(`location.pathname.startsWith("/recoveries/fun-asr-") && document.readyState === "complete"`)
	id := anna.shown()
	anna.sees("#headline", id+" recovered", "fun-asr runs on hot")
	anna.sees("#timeline", "cut over", "settle")
	anna.tabTo("History")
	anna.press(kb.Enter)
	anna.sees("table.runs tbody tr", id, "recovered")

	// Without a script all of it can be read; on a telephone nothing sticks out, by day and by night.
	fits := func(b *browser, path string) {
		b.open(path)
		b.sees("main", "fun-asr")
		b.is("document.documentElement.scrollWidth <= innerWidth")
	}
	vera.window(1280, "light", false)
	fits(vera, "/recoveries/"+id)
	vera.sees("#rest", "start anna: anna asks: users hear silence")
	vera.sees("#timeline", "diagnose", "cut over", "settle")
	vera.sees("#facts", "anna asks: users hear silence")
	for _, theme := range []string{"light", "dark"} {
		anna.window(375, theme, true)
		for name, path := range map[string]string{"services": "/", "service": "/services/fun-asr", "plan": "/services/fun-asr/recover", "recovery": "/recoveries/" + id, "history": "/history"} {
			fits(anna, path)
			anna.picture(name + "-telephone-" + theme)
		}
	}
	done := 0
	for _, e := range audited(t, u) {
		if e.Did == "recover" && e.Result == audit.Done {
			done++
			if e.Who != "anna" || e.Role != "approver" || e.Plan == "" || e.Reason != "users hear silence" {
				t.Errorf("the audit has %+v", e)
			}
		}
	}
	if done != 1 {
		t.Errorf("%d recoveries were ordered", done)
	}
}

package console

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/triggers"
)

// What may be ordered of a service and of a recovery by a form; the API has the
// last word.
var (
	ofService  = []string{"pause", "resume", "drill", "failback"}
	ofRecovery = []string{"abort", "retry", "skip", "commit", "rollback", "answer"}
)

// sayWhy is the answer to a decision without a reason.
const sayWhy = "Say why: somebody will ask."

// orderAll pauses or resumes every service, and shows which did not follow.
func (c *Console) orderAll(w http.ResponseWriter, r *http.Request) {
	verb, reason := strings.TrimPrefix(r.URL.Path, "/"), strings.TrimSpace(r.PostForm.Get("reason"))
	var decision any = struct{}{}
	if verb == "pause" {
		if reason == "" {
			c.showServices(w, r, http.StatusUnprocessableEntity, sayWhy)
			return
		}
		decision = triggers.Because{Reason: reason}
	}
	var answers []triggers.EachAnswer
	if err := c.decide(r.Context(), "/"+verb, r.PostForm.Get("key"), decision, &answers); err != nil {
		c.showServices(w, r, statusOf(err), err.Error())
		return
	}
	var no []string
	for _, a := range answers {
		if !a.OK {
			no = append(no, a.Service+": "+a.Problem)
		}
	}
	if len(no) > 0 {
		c.showServices(w, r, http.StatusConflict, fmt.Sprintf("%d of %d services did not follow. %s", len(no), len(answers), strings.Join(no, "; ")))
		return
	}
	http.Redirect(w, r, "/?"+url.Values{"did": {verb + "-all"}}.Encode(), http.StatusSeeOther)
}

// orderService carries out a form about a service, and leads back to it, or to
// the recovery that it started.
func (c *Console) orderService(w http.ResponseWriter, r *http.Request) {
	name, verb, form := r.PathValue("service"), r.PathValue("verb"), r.PostForm
	if !slices.Contains(ofService, verb) {
		http.NotFound(w, r)
		return
	}
	reason := strings.TrimSpace(form.Get("reason"))
	if reason == "" && verb != "resume" {
		c.showService(w, r, http.StatusUnprocessableEntity, sayWhy)
		return
	}
	var decision any = triggers.Because{Reason: reason}
	if verb == "resume" {
		decision = struct{}{}
	}
	var came struct {
		triggers.Called
		Did string `json:"did"`
	}
	err := c.decide(r.Context(), "/services/"+url.PathEscape(name)+"/"+verb, form.Get("key"), decision, &came)
	switch {
	case err != nil:
		c.showService(w, r, statusOf(err), err.Error())
	case came.Did == "" && !came.Started:
		c.showService(w, r, http.StatusConflict, "Nothing was started: "+came.Reason)
	case came.Recovery != "":
		http.Redirect(w, r, "/recoveries/"+url.PathEscape(came.Recovery), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/services/"+url.PathEscape(name)+"?"+url.Values{"did": {verb}}.Encode(), http.StatusSeeOther)
	}
}

// orderRecovery carries out a form about a recovery, and leads back to it.
func (c *Console) orderRecovery(w http.ResponseWriter, r *http.Request) {
	id, verb, form := r.PathValue("id"), r.PathValue("verb"), r.PostForm
	if !slices.Contains(ofRecovery, verb) {
		http.NotFound(w, r)
		return
	}
	reason := strings.TrimSpace(form.Get("reason"))
	var decision any = triggers.Because{Reason: reason}
	if verb == "answer" {
		decision, verb = answerOf(form, reason)
	} else if reason == "" {
		c.showRecovery(w, r, http.StatusUnprocessableEntity, sayWhy)
		return
	}
	var decided triggers.Decided
	if err := c.decide(r.Context(), "/recoveries/"+url.PathEscape(id)+"/"+verb, form.Get("key"), decision, &decided); err != nil {
		c.showRecovery(w, r, statusOf(err), err.Error())
		return
	}
	http.Redirect(w, r, "/recoveries/"+url.PathEscape(id)+"?"+url.Values{"did": {verb}}.Encode(), http.StatusSeeOther)
}

// answerOf is the answer to a question: a yes or no to a plan has a verb of its own.
func answerOf(form url.Values, reason string) (decision any, verb string) {
	question, answer, plan := form.Get("question"), form.Get("answer"), form.Get("plan")
	if plan != "" && (answer == "approve" || answer == "reject") {
		return triggers.Agreed{Question: question, Plan: plan, Reason: reason}, answer
	}
	return triggers.Answer{Question: question, Answer: answer, Plan: plan, Reason: reason}, "answer"
}

// statusOf is the status of the API's error.
func statusOf(err error) int {
	var no *problem
	if errors.As(err, &no) {
		return no.Status
	}
	return http.StatusServiceUnavailable
}

// done says what was just ordered. The address names the verb and nothing else:
// a link from elsewhere must not put words on our pages.
func done(r *http.Request) string {
	return map[string]string{
		"pause": "Paused: no recovery starts by itself.", "resume": "Resumed: recoveries start by themselves again.",
		"pause-all": "Every service is paused: no recovery starts by itself.", "resume-all": "No service is paused any more.",
		"abort": "Aborted.", "retry": "The tier is tried again.", "skip": "The next tier is tried.", "commit": "Committed.", "rollback": "It is taken back.",
		"approve": "Approved.", "reject": "Rejected.", "answer": "Answered.",
	}[r.FormValue("did")]
}

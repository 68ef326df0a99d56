package triggers

import (
	"encoding/json"
	"sync"
)

// maxReplies is how many answers are kept for those who ask again.
const maxReplies = 1000

// replies keep the answers to decisions that do not go to a workflow, so that a
// repeated request is answered again, and not carried out again. The zero value
// is ready.
type replies struct {
	mu    sync.Mutex
	by    map[string]*reply
	order []string
}

type reply struct {
	mu      sync.Mutex
	done    bool
	text    string
	answers [][]byte
}

// once carries something out that was not carried out under this key, and else
// returns what came of it; answers are filled as they were then. What failed is
// tried again.
func (r *replies) once(key string, do func() (string, error), answers []any) (string, error) {
	one := r.of(key)
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.done {
		for i, text := range one.answers {
			if err := json.Unmarshal(text, answers[i]); err != nil {
				return "", err
			}
		}
		return one.text, nil
	}
	text, err := do()
	if err != nil {
		return "", err
	}
	for _, a := range answers {
		kept, err := json.Marshal(a)
		if err != nil {
			return "", err
		}
		one.answers = append(one.answers, kept)
	}
	one.done, one.text = true, text
	return text, nil
}

// of finds the reply of a key; the oldest ones make room.
func (r *replies) of(key string) *reply {
	r.mu.Lock()
	defer r.mu.Unlock()
	if one := r.by[key]; one != nil {
		return one
	}
	if r.by == nil {
		r.by = map[string]*reply{}
	}
	if len(r.order) == maxReplies {
		delete(r.by, r.order[0])
		r.order = r.order[1:]
	}
	one := &reply{}
	r.by[key], r.order = one, append(r.order, key)
	return one
}

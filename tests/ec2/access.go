package ec2

import (
	"maps"
	"strings"
)

// Access is one thing that a caller needs to be allowed: an action on a
// resource, with what IAM's condition keys hold then.
type Access struct {
	// Action as IAM writes it, such as ec2:RunInstances.
	Action string
	// Resource is an ARN, or * for actions that have none.
	Resource string
	// Keys are the condition keys that the request has, such as aws:RequestTag/service.
	Keys map[string][]string
}

// allow asks for each access; what is needed and not allowed is refused.
func (q *request) allow(needed ...Access) *refusal {
	if q.s.options.Allow == nil {
		return nil
	}
	for _, a := range needed {
		keys := map[string][]string{"aws:RequestedRegion": {q.r.Name}, "ec2:Region": {q.r.Name}}
		maps.Copy(keys, a.Keys)
		a.Keys = keys
		if !q.s.options.Allow(a) {
			return refuse("UnauthorizedOperation", "You are not authorized to perform this operation. No identity-based policy allows the %s action on %s", a.Action, a.Resource)
		}
	}
	return nil
}

// arn names a resource of this account in the region.
func (q *request) arn(kind, id string) string {
	account := Account
	if kind == "image" || kind == "snapshot" {
		account = "" // these may belong to anybody
	}
	return "arn:aws:ec2:" + q.r.Name + ":" + account + ":" + kind + "/" + id
}

// requestTags are the condition keys of tags that a request brings.
func requestTags(tags map[string]string) map[string][]string {
	keys := map[string][]string{}
	for name, value := range tags {
		keys["aws:RequestTag/"+name] = []string{value}
		keys["aws:TagKeys"] = append(keys["aws:TagKeys"], name)
	}
	return keys
}

// resourceTags are the condition keys of tags that a resource has, under both of their names.
func resourceTags(tags map[string]string) map[string][]string {
	keys := map[string][]string{}
	for name, value := range tags {
		keys["aws:ResourceTag/"+name] = []string{value}
		keys["ec2:ResourceTag/"+name] = []string{value}
	}
	return keys
}

// merged joins condition keys.
func merged(all ...map[string][]string) map[string][]string {
	keys := map[string][]string{}
	for _, some := range all {
		maps.Copy(keys, some)
	}
	return keys
}

// kindOf is the kind of resource that an id names: i-... is an instance.
func kindOf(id string) string {
	prefix, _, _ := strings.Cut(id, "-")
	return map[string]string{"i": "instance", "ami": "image", "vol": "volume", "snap": "snapshot"}[prefix]
}

package route53fake

import (
	"slices"
	"strings"
)

// Access is one thing that a caller needs to be allowed: an action on a
// resource, with what IAM's condition keys hold then.
type Access struct {
	// Action as IAM writes it, such as route53:GetChange.
	Action string
	// Resource is an ARN.
	Resource string
	// Keys are the condition keys that the request has; those of ChangeResourceRecordSets have several values.
	Keys map[string][]string
}

// access is what a batch needs, with the three condition keys of its records.
func (in changeRequest) access(z *zone) Access {
	keys := map[string][]string{}
	add := func(key, value string) {
		if key = "route53:ChangeResourceRecordSets" + key; !slices.Contains(keys[key], value) {
			keys[key] = append(keys[key], value)
		}
	}
	for _, c := range in.Changes {
		add("NormalizedRecordNames", strings.TrimSuffix(fqdn(c.ResourceRecordSet.Name), "."))
		add("RecordTypes", c.ResourceRecordSet.Type)
		add("Actions", c.Action)
	}
	return Access{Action: "route53:ChangeResourceRecordSets", Resource: arn("hostedzone/" + z.id), Keys: keys}
}

// allow asks for an access; what is needed and not allowed is refused.
func (s *Server) allow(a Access) *refusal {
	if s.options.Allow == nil || s.options.Allow(a) {
		return nil
	}
	return refuse(403, "AccessDenied", "User: arn:aws:iam::123456789012:user/understudy is not authorized to perform: %s on resource: %s because no identity-based policy allows the %s action", a.Action, a.Resource, a.Action)
}

// arn names a resource of Route 53, which has neither region nor account.
func arn(resource string) string { return "arn:aws:route53:::" + resource }

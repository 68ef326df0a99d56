package boot

import "github.com/understudy-dr/understudy/activities/compute"

// Step is one line that the script has written about a boot. See compute.BootStep.
type Step = compute.BootStep

// Steps reads the steps from a console. See compute.BootSteps.
func Steps(console string) []Step { return compute.BootSteps(console) }

// Failed is the step that failed, where one did.
func Failed(steps []Step) (Step, bool) { return compute.FailedStep(steps) }

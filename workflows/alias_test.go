package workflows

import (
	"context"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
)

// Short names for what the test environment's listeners are given.
type (
	activityInfo   = activity.Info
	encodedValues  = converter.EncodedValues
	contextContext = context.Context
)

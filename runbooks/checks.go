package runbooks

// Health is the cheap question whether an instance lives.
type Health struct {
	// http asks Path; tcp only connects. Default http.
	Kind string `json:"kind,omitempty" jsonschema:"enum=http,enum=tcp"`
	// Path of the health check. Default /health.
	Path string `json:"path,omitempty"`
	// How long an answer may take; a second try is allowed as long. Up to 450ms both fit into a workflow task, which is fastest. Default 400ms.
	Timeout Duration `json:"timeout,omitempty"`
	// The longest inference that may hold the health check up. 0 means that health answers during an inference. (FunASR's own servers block: give them minutes.)
	Busy Duration `json:"busy,omitempty"`
	// Expression on the JSON answer that must be true. Fields of the body are names.
	Ready string `json:"ready,omitempty"`
}

// Canary is a real inference with a known answer. Exactly one of the two kinds.
type Canary struct {
	// How long the inference may take. Default 20s.
	Timeout Duration `json:"timeout,omitempty"`
	// For services that turn speech into text.
	Transcribe *Transcribe `json:"transcribe,omitempty"`
	// For services that turn text into speech.
	Synthesize *Synthesize `json:"synthesize,omitempty"`
}

// Transcribe is the canary of a service that turns speech into text.
type Transcribe struct {
	// The audio: s3://bucket/key, https://... or a file path. It is kept locally, so that a dead store does not blind the canary.
	Audio string `json:"audio" jsonschema:"required"`
	// What is said in it.
	Expect string `json:"expect" jsonschema:"required"`
	// Highest word error rate that passes, 0 to 1. Default 0.
	MaxWER float64 `json:"max_wer,omitempty"`
	// openai posts to /v1/audio/transcriptions, funasr to /asr. Default openai.
	Dialect string `json:"dialect,omitempty" jsonschema:"enum=openai,enum=funasr"`
	// Another path than the dialect's.
	Path string `json:"path,omitempty"`
	// Sent as the form field model.
	Model string `json:"model,omitempty"`
	// Sent as the form field language.
	Language string `json:"language,omitempty"`
	// dialect funasr: words to favour.
	Hotwords []string `json:"hotwords,omitempty"`
}

// Synthesize is the canary of a service that turns text into speech.
type Synthesize struct {
	// Where the request is posted.
	Path string `json:"path" jsonschema:"required"`
	// The JSON body of the request, as the service wants it.
	JSON map[string]any `json:"json" jsonschema:"required"`
	// Where the audio is in the answer: body (the answer is the audio), or the JSON field that holds it, as json:FIELD (base64) or url:FIELD. Default body.
	Audio string `json:"audio,omitempty"`
	// Shortest speech that passes, in seconds; silence does not count. Default 0.2.
	MinSeconds float64 `json:"min_seconds,omitempty"`
	// Base URL of a transcription service that listens to the result.
	TranscribeBack string `json:"transcribe_back,omitempty"`
	// transcribe_back: what it must hear.
	Expect string `json:"expect,omitempty"`
	// transcribe_back: highest word error rate that passes, 0 to 1.
	MaxWER float64 `json:"max_wer,omitempty"`
}

// Version says which model version must run, and how to ask an instance for its own.
type Version struct {
	// Where the expected version is written down.
	Expected Source `json:"expected" jsonschema:"required"`
	// How an instance tells its version.
	Actual Actual `json:"actual,omitzero"`
}

// Actual is how an instance tells its version.
type Actual struct {
	// Path that answers with the version. Default /version.
	Path string `json:"path,omitempty"`
	// Field of the JSON answer. Default: version where the answer is JSON, else the whole answer.
	Field string `json:"field,omitempty"`
}

// Source is a place from which configuration is read.
type Source struct {
	// etcd reads a key or a prefix; http reads a URL (Consul: .../v1/kv/KEY?raw); value is written here.
	Kind string `json:"kind" jsonschema:"required,enum=etcd,enum=http,enum=value"`
	// kind etcd: the server's URL. Default: the site file's config center.
	Endpoint string `json:"endpoint,omitempty" kind:"etcd"`
	// kind etcd: the key to read.
	Key string `json:"key,omitempty" kind:"etcd"`
	// kind etcd: read all keys that begin so.
	Prefix string `json:"prefix,omitempty" kind:"etcd"`
	// kind http: what to read.
	URL string `json:"url,omitempty" kind:"http!"`
	// kind http: request headers whose values are secrets by reference.
	Headers map[string]Secret `json:"headers,omitempty" kind:"http"`
	// kind etcd: user name.
	User string `json:"user,omitempty" kind:"etcd"`
	// kind etcd: password, by reference.
	Password Secret `json:"password,omitzero" kind:"etcd"`
	// kind value: the value itself.
	Value string `json:"value,omitempty" kind:"value!"`
	// What to do when the source does not answer: go on with the last value that was read, or refuse. Default last-known.
	Unavailable string `json:"unavailable,omitempty" jsonschema:"enum=last-known,enum=refuse"`
	// How an instance tells the hash of what it runs with: path and JSON field, as /settings#hash. Without it only Understudy's own reading is compared.
	Actual string `json:"actual,omitempty"`
}

// Dependency is something that this and other services need in common.
type Dependency struct {
	// What people call it.
	Name string `json:"name" jsonschema:"required"`
	// How it is asked: http(s)://..., tcp://host:port or s3://bucket.
	URL string `json:"url" jsonschema:"required"`
}

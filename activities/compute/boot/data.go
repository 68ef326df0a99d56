package boot

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/understudy-dr/understudy/activities/s3client"
)

// replicaConfig is the part of Litestream's configuration that a restore needs;
// written as JSON it is YAML too, whatever is in the names.
type replicaConfig struct {
	DBs []replicaDB `json:"dbs"`
}

type replicaDB struct {
	Path    string `json:"path"`
	Replica struct {
		Type      string `json:"type"`
		Bucket    string `json:"bucket"`
		Path      string `json:"path"`
		Region    string `json:"region"`
		Endpoint  string `json:"endpoint,omitempty"`
		PathStyle bool   `json:"force-path-style,omitempty"`
	} `json:"replica"`
}

// restores reports whether a machine has data to restore.
func restores(m Machine) bool {
	return slices.ContainsFunc(m.Data, func(d Data) bool { return d.From != "" })
}

// data writes what the script needs to restore data: a table, and for each
// database its Litestream configuration and its check.
func (d *document) data(m Machine) error {
	if !restores(m) {
		return nil
	}
	var lines strings.Builder
	n := 0
	for i, data := range m.Data {
		if data.From == "" {
			continue
		}
		n++
		line, err := data.line(fmt.Sprintf("data[%d]", i))
		if err != nil {
			return err
		}
		lines.WriteString(line)
		if err := d.database(fmt.Sprintf("data[%d]", i), fmt.Sprintf("%s/data-%d", dir, n), data); err != nil {
			return err
		}
	}
	d.file(dir+"/data", "0644", lines.String())
	d.file(dir+"/order", "0644", m.Order.Key+"\n")
	return nil
}

// line is data in the table that the script reads.
func (data Data) line(key string) (string, error) {
	from, err := s3client.ParseURL(data.From)
	if err != nil {
		return "", refused(key, "%v", err)
	}
	reach, err := data.Store.fields(key)
	if err != nil {
		return "", err
	}
	fields := append([]string{data.Kind, from.Bucket, or(from.Key, "-"), strings.TrimRight(data.Path, "/")}, reach...)
	if err := checkFields(key, fields); err != nil {
		return "", err
	}
	return strings.Join(fields, "\t") + "\n", checkPath(key+".path", data.Path)
}

// database writes what Litestream is told of a database, and the check.
func (d *document) database(key, file string, data Data) error {
	if data.Kind != "litestream" {
		return nil
	}
	if data.Store.Login == Anonymous {
		return refused(key, "Litestream signs its requests; anonymous does not go with it")
	}
	from, err := s3client.ParseURL(data.From)
	if err != nil {
		return refused(key, "%v", err)
	}
	config := replicaDB{Path: strings.TrimRight(data.Path, "/")}
	config.Replica.Type, config.Replica.Bucket, config.Replica.Path = "s3", from.Bucket, from.Key
	config.Replica.Region, config.Replica.Endpoint, config.Replica.PathStyle = or(data.Store.Region, s3client.DefaultRegion), data.Store.Endpoint, data.Store.PathStyle
	text, err := json.MarshalIndent(replicaConfig{DBs: []replicaDB{config}}, "", "  ")
	if err != nil {
		return err
	}
	d.file(file+".yml", "0644", string(text)+"\n")
	if data.Check == "" {
		return nil
	}
	check := strings.TrimSpace(strings.NewReplacer("\n", " ", "\r", " ", "\t", " ").Replace(data.Check))
	d.file(file+".sql", "0644", check+";\n")
	return plain(key+".check", check)
}

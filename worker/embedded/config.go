package embedded

import (
	"fmt"
	"time"

	"go.temporal.io/server/common/cluster"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/dynamicconfig"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
)

const clusterName = "understudy"

// serverConfig is the configuration of a server of one machine. Its database is
// filled in by prepareFile.
func serverConfig(host string, port int) *config.Config {
	address := fmt.Sprintf("%s:%d", host, port)
	c := &config.Config{
		Global: config.Global{
			Membership: config.Membership{MaxJoinDuration: 30 * time.Second, BroadcastAddress: host},
		},
		ClusterMetadata: &cluster.Config{
			FailoverVersionIncrement: 10,
			MasterClusterName:        clusterName,
			CurrentClusterName:       clusterName,
			ClusterInformation: map[string]cluster.ClusterInformation{
				clusterName: {Enabled: true, InitialFailoverVersion: 1, RPCAddress: address},
			},
		},
		DCRedirectionPolicy: config.DCRedirectionPolicy{Policy: "noop"},
		PublicClient:        config.PublicClient{HostPort: address},
		Archival: config.Archival{
			History:    config.HistoryArchival{State: "disabled"},
			Visibility: config.VisibilityArchival{State: "disabled"},
		},
		NamespaceDefaults: config.NamespaceDefaults{Archival: config.ArchivalNamespaceDefaults{
			History:    config.HistoryArchivalNamespaceDefaults{State: "disabled"},
			Visibility: config.VisibilityArchivalNamespaceDefaults{State: "disabled"},
		}},
		Services: map[string]config.Service{},
	}
	for offset, service := range services {
		c.Services[string(service)] = config.Service{RPC: config.RPC{GRPCPort: port + offset, BindOnIP: host}}
	}
	return c
}

// database says how the file is opened. The plugin turns each attribute that it
// does not know into a pragma and ignores what SQLite does not know, so
// prepareFile reads them back.
func database(path string) *config.SQL {
	return &config.SQL{
		PluginName:   sqlite.PluginName,
		DatabaseName: path,
		ConnectAttributes: map[string]string{
			"mode":         "rwc",
			"journal_mode": "wal",
			"synchronous":  "full",
			"busy_timeout": "5000",
		},
	}
}

// dynamicConfig raises limits that are meant for clusters shared by many. The
// queue processors' default of 20 polls a second makes 20 activities in a row
// take one second; the timer's default shift makes a 10 ms timer take one.
func dynamicConfig() dynamicconfig.Client {
	const plenty = 100_000
	return dynamicconfig.StaticClient{
		dynamicconfig.TransferProcessorMaxPollRPS.Key():   plenty,
		dynamicconfig.TimerProcessorMaxPollRPS.Key():      plenty,
		dynamicconfig.VisibilityProcessorMaxPollRPS.Key(): plenty,
		dynamicconfig.OutboundProcessorMaxPollRPS.Key():   plenty,
		dynamicconfig.TimerProcessorMaxTimeShift.Key():    10 * time.Millisecond,

		dynamicconfig.FrontendRPS.Key():                             plenty,
		dynamicconfig.FrontendMaxNamespaceRPSPerInstance.Key():      plenty,
		dynamicconfig.FrontendPersistenceMaxQPS.Key():               plenty,
		dynamicconfig.HistoryRPS.Key():                              plenty,
		dynamicconfig.HistoryPersistenceMaxQPS.Key():                plenty,
		dynamicconfig.MatchingRPS.Key():                             plenty,
		dynamicconfig.MatchingPersistenceMaxQPS.Key():               plenty,
		dynamicconfig.WorkerPersistenceMaxQPS.Key():                 plenty,
		dynamicconfig.ForceSearchAttributesCacheRefreshOnRead.Key(): true,

		// It would call home once a day.
		dynamicconfig.EnableServerVersionCheck.Key(): false,
	}
}

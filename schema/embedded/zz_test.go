package embedded

import (
	"fmt"
	"strings"
	"testing"
)

func TestZZ(t *testing.T) {
	e := testEngine(t)
	s, _ := e.session()
	out, err := s.scalar("SELECT arrayStringConcat(groupArray(name), ' ') FROM (SELECT name FROM system.tables WHERE database='system' ORDER BY name)")
	fmt.Println(out, err)
	tables := strings.Fields(out)
	out, err = s.scalar("SELECT arrayStringConcat(groupArray(table || '.' || name), ' ') FROM system.columns WHERE database='system' AND (name LIKE '%path%' OR name LIKE '%query%' OR name LIKE '%exception%' OR name LIKE '%dir%')")
	fmt.Println(out, err)
	fmt.Println(s.scalar("SELECT arrayStringConcat(groupArray(grants), '\n') FROM (SELECT concat(coalesce(user_name,role_name),' ', access_type::String,' ', coalesce(database,'*'),'.',coalesce(table,'*'),'(',coalesce(column,'*'),')',is_partial_revoke::String) grants FROM system.grants WHERE role_name LIKE '%reader%')"))
	for _, x := range tables {
		st, text := reader(t, "SELECT * FROM system."+x+" LIMIT 1", nil)
		if i := strings.Index(text, "Code:"); i >= 0 { text = text[i:] } else {text="ok"}
		fmt.Println(x, st, text)
	}
	for _, x := range []string{"SHOW PROCESSLIST", "SELECT getServerSetting('path')", "SELECT getServerSetting('max_thread_pool_size')", "SHOW GRANTS", "SHOW CREATE TABLE system.processes", "SHOW ACCESS", "SELECT getMergeTreeSetting('index_granularity')", "SHOW SETTING max_threads", "SHOW SETTINGS LIKE 'log_comment'"} {
		st, text := reader(t, x, nil)
		fmt.Println(x, st, text)
	}
}

package oncall

import "time"

// EndFindings ends the findings that were not found for a while at a time.
func (d *Desk) EndFindings(now time.Time) { d.endFindings(now) }

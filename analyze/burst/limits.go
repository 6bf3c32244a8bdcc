package burst

// SetThresholds has other thresholds count from now on, for all keys and for bursts
// that go on.
func (d *Detector) SetThresholds(t Thresholds) error {
	if err := t.check(); err != nil {
		return err
	}
	d.limits = t
	for i := range d.keys.used {
		e := d.keys.at(i)
		e.refresh(&d.limits, d.pool.of(e.prior))
	}
	return nil
}

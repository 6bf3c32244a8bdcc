r.received >= toDateTime({since:UInt32}, 'UTC')
    OR r.received >= toDateTime({settled_from:UInt32}, 'UTC') AND r.received < toDateTime({settled_until:UInt32}, 'UTC')

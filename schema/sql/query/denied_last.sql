-- Who was denied something in the last minutes of denials that are known of.
SELECT DISTINCT if(r.frontend = '', '-', r.frontend) AS frontend, if(r.subject = '', '', r.issuer) AS issuer, r.subject AS subject,
    if(r.subject = '', r.client_ip, toIPv6('::')) AS client
FROM requests AS r
WHERE r.decision = 'deny' AND r.time >= toDateTime({since:UInt32}, 'UTC')
    AND r.time >= (SELECT max(l.time) FROM requests AS l WHERE l.decision = 'deny' AND l.time >= toDateTime({since:UInt32}, 'UTC')) - {forgotten:UInt32}

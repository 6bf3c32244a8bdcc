WHERE m.commit IN (SELECT arrayJoin(u.commits) FROM attributions AS u {{template "narrow_uses.sql" .}})

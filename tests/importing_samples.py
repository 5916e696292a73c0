"""A file of each format that `forkpolicy import` knows, as the beginning of a real one looks."""

from __future__ import annotations

SAMPLES = {
    "apolicy": """\
# friends of ours
acl foo sender foo@example.com
acl bad_domain sender @example.com
action nice_users DUNNO
action deny_spam REJECT You are a spammer
access foo nice_users
access bad_domain deny_spam
acl net client_address 192.0.2.0/24 silent
acl net client_address 198.51.100.0/255.255.255.0, 203.0.113.0-203.0.113.255
acl work day mtwhf
acl end day SATURDAY,Sunday Monday-Tuesday
acl hours time 08:00-17:00
acl big size 10485760
acl dynamic client_name (.dynamic.|.dhcp.) ^unknown$
acl login sasl_username ^anna$ anna@example.com
acl place policy_context submission
acl grey greylisting time=2,lifetime=14400,backend=disk,root=/var/cache/apolicy/
acl list recipient /etc/apolicy/list
action later DEFER_IF_PERMIT Greylisted {wait} 5
access !net grey later
access work hours !big deny_spam
access end dynamic place
access login list nice_users
action default DUNNO
""",
    "postfwd": """\
# networks of ours
&&NETS { client_address=192.0.2.0/24; client_address=198.51.100.0/24; };
id=OURS; &&NETS; action=DUNNO
id=BIG ; protocol_state==END-OF-MESSAGE ; size>=10000000 ; action=REJECT message too large
id=RATE ; sasl_username=~.+ ; action=rate(sasl_username/100/3600/450 4.7.1 too many)
""",
    "access": """\
# /etc/postfix/main.cf
smtpd_restriction_classes = insiders, greyish
insiders = check_sender_access inline:{ example.com=OK }, reject
greyish = check_policy_service inet:127.0.0.1:10023
mynetworks = 127.0.0.0/8 [::1]/128
common = check_helo_access inline:{ {example.com=REJECT You are not me}, [192.0.2.1]=REJECT }
use_common = yes
smtpd_client_restrictions = permit_mynetworks,
    # ours
    check_client_access cidr:{ {if 192.0.2.0/24} {!192.0.2.1 REJECT not you} {endif} {0.0.0.0/0 DUNNO} }
    check_client_access inline:{ {192.0.2=450 4.7.1 later} {2001:db8=OK} {unknown=WARN who} }
smtpd_sender_restrictions = check_sender_access regexp:{ {/^a+@/i REJECT $$1} {!/@example\\.org$$/ HOLD look} }
    check_sender_access pcre:{ {if /x/} {|^y| PREPEND X-Y: yes} {endif} {/^<>$$/ 550 5.7.1 none} }
smtpd_recipient_restrictions = permit_sasl_authenticated, reject_unauth_destination ${use_common?{$common}:{reject}}
    check_recipient_access inline:{ {boss@example.com=insiders}, {info@=greyish, permit},
        {example.net=reject_unlisted_recipient} }
    warn_if_reject check_sender_access static:{REJECT on trial}, reject_rbl_client zen.example.net
    check_sender_access hash:/etc/postfix/senders, permit
""",
    "postgrey": """\
# postgrey whitelist for mail client hostnames
# --------------------------------------------
# big senders
example.com
/^mail[0-9]+\\.example\\.net$/
192.0.2.0/24
198.51.100
""",
    "cluebringer": """\
-- MySQL dump 10.13  Distrib 5.5
CREATE TABLE `policies` (
  `ID` bigint(20) unsigned NOT NULL AUTO_INCREMENT,
  `Name` varchar(255) NOT NULL,
  `Priority` smallint(6) NOT NULL,
  `Description` text,
  `Disabled` smallint(6) NOT NULL DEFAULT '0',
  PRIMARY KEY (`ID`)
);
INSERT INTO `policies` VALUES (1,'Default',0,'Default System Policy',0),(2,'in',10,NULL,0),(3,'boss',60,'',0);
CREATE TABLE `policy_groups` (`ID` bigint, `Name` varchar(255), `Disabled` smallint, `Comment` varchar(1024));
INSERT INTO `policy_groups` VALUES (1,'inside',0,NULL),(2,'domains',0,NULL);
INSERT INTO policy_group_members (ID,PolicyGroupID,Member,Disabled) VALUES
(1,1,'10.0.0.0/8',0),(2,2,'@example.com',0),
(3,1,'$*',0),(4,2,'anna@example.net',0),(5,1,'%domains',0);
CREATE TABLE `policy_members` (`ID` bigint, `PolicyID` bigint, `Source` text, `Destination` text);
INSERT INTO `policy_members` VALUES
(1,1,NULL,'any'),(2,2,'!%inside,!192.0.2.7','%domains'),(3,3,'*.example.org,@',NULL);
CREATE TABLE `quotas` (`ID` bigint, `PolicyID` bigint, `Name` varchar(255), `Track` varchar(255), `Period` bigint);
INSERT INTO quotas (ID,PolicyID,Name,Track,Period,Verdict,Data,LastQuota) VALUES
(1,1,'net','SenderIP:/24',60,'DEFER','450 no',1),
(2,2,'q','Recipient:@domain',3600,'REJECT',NULL,0);
INSERT INTO quotas_limits (ID,QuotasID,Type,CounterLimit) VALUES
(1,1,'MessageCount',10),(2,2,'MessageCumulativeSize',8000);
INSERT INTO access_control (ID,PolicyID,Name,Verdict,Data) VALUES
(1,3,'no','REJECT','554 {no}'),(2,2,'pass','PASS','');
INSERT INTO checkhelo (ID,PolicyID,Name,UseBlacklist,BlacklistPeriod,UseHRP,HRPPeriod,HRPLimit,
  RejectInvalid,RejectIP) VALUES
(1,2,'h',1,86400,1,604800,5,1,1);
INSERT INTO checkhelo_blacklist (ID,Helo) VALUES (1,'[127.0.0.1]');
INSERT INTO greylisting (ID,PolicyID,UseGreylisting,GreylistPeriod,Track,GreylistAuthValidity,
  GreylistUnAuthValidity) VALUES
(1,2,1,240,'SenderIP:/24',604800,86400),(2,3,0,NULL,'SenderIP:/24',NULL,NULL);
INSERT INTO greylisting_whitelist (ID,Source) VALUES (1,'SenderIP:198.51.100.0/24');
""",
    "policyd": """\
-- MySQL dump 10.9
CREATE TABLE `policy` (
  `_rcpt` char(60) NOT NULL default '',
  `_optin` tinyint(1) unsigned NOT NULL default '1'
);
CREATE TABLE `whitelist` (
  `_whitelist` char(15) NOT NULL default '',
  `_description` char(60) default NULL,
  `_expire` int(10) unsigned NOT NULL default '0'
);
INSERT INTO `whitelist` VALUES ('192.0.2.1','# ours',0);
INSERT INTO whitelist_sender (_whitelist) VALUES ('@example.net'),('<>'),('a@example.com');
INSERT INTO blacklist_dnsname (_blacklist) VALUES ('%.dsl.example.org'),('p_ol%'),('bad.example.org');
INSERT INTO spamtrap (_rcpt,_active) VALUES ('trap@example.com',1);
CREATE TABLE `blacklist_helo` (`_helo` char(60) NOT NULL default '');
INSERT INTO `blacklist_helo` VALUES ('localhost'),('%\\_%');
CREATE TABLE `throttle` (`_from` char(60), `_count_max` int(10), `_time_limit` int(10));
""",
    "iredapd": """\
-- iRedAPD
CREATE TABLE `greylisting` (`id` bigint, `account` varchar(100), `priority` int, `sender` varchar(100), `active` int);
INSERT INTO `greylisting` VALUES (1,'@.',0,'@.',1);
INSERT INTO users (id, priority, email) VALUES (1,60,'@example.com'),(2,100,'anna@example.com'),(3,0,'@.');
INSERT INTO mailaddr (id, priority, email) VALUES
(1,60,'@spam.example'),(2,80,'192.0.2.7'),(3,90,'sales@*'),(4,0,'198.51.100.0/24');
INSERT INTO wblist (rid, sid, wb) VALUES (1,1,'B'),(2,2,'W'),(3,3,'B'),(3,4,'B');
INSERT INTO greylisting_whitelists (id, account, sender) VALUES
(1,'@.','@.example.org'),(2,'anna@example.com','203.0.113.0/24');
CREATE TABLE `throttle` (`id` bigint, `account` varchar(255), `kind` varchar(255), `priority` int, `period` int,
  `msg_size` int, `max_msgs` int, `max_quota` bigint);
INSERT INTO `throttle` VALUES
(1,'@.','outbound',0,3600,10000,100,-1),(2,'@.example.com','outbound',50,60,-1,0,1000000),
(3,'anna@example.com','inbound',100,60,-1,5,-1);
INSERT INTO wblist_rdns (id, rdns, wb) VALUES (1,'.dyn.example.org','B'),(2,'mx.dyn.example.org','W');
CREATE TABLE `wblist_rdns` (`id` bigint, `rdns` varchar(255), `wb` varchar(10));
""",
}

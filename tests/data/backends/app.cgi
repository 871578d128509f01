#!/usr/bin/perl
# The application behind CGI: writes down the variables that it was given, and says them back.
use strict;
binmode STDIN;
local $/;
my $body = <STDIN> // "";

sub text {
    my ($text) = @_;
    $text =~ s/([^ !#-\[\]-~])/sprintf("\\u%04x", ord $1)/ge;
    return "\"$text\"";
}

sub name {
    my $name = lc substr($_[0], 5);
    $name =~ tr/_/-/;
    return $name;
}

my @fields = map { "[" . text(name($_)) . "," . text($ENV{$_}) . "]" } sort grep { /^HTTP_/ } keys %ENV;
my $told = '{"method":' . text($ENV{REQUEST_METHOD}) . ',"target":' . text($ENV{REQUEST_URI})
    . ',"fields":[' . join(",", @fields) . '],"body":' . text($body) . "}";
open(my $log, ">>", $ENV{BACKEND_LOG}) or die "$ENV{BACKEND_LOG}: $!";
syswrite($log, "$told\n");
close($log);
print "Content-Type: application/json\r\nContent-Length: " . length($told) . "\r\n\r\n$told";
